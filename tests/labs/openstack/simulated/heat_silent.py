"""Heat without notifications: signalling a scaling policy fails on its own one with Debian 12's oslo.messaging, and
nobody listens here. Loaded by heat-engine as a plug-in without resources, under Debian's Python."""

from heat.engine import notification

notification.notify = lambda *args, **kwargs: None


def resource_mapping():
    """No resource types of its own."""
    return {}
