"""The tables. Tenant is part of every unique key; times are ISO 8601 with zone; JSON columns hold codec output."""

from __future__ import annotations

from sqlalchemy import JSON, Boolean, Column, Index, Integer, MetaData, String, Table, UniqueConstraint, text

metadata = MetaData()

manager = Table(  # one row: who we are, and the fence of the present lease
    "manager",
    metadata,
    Column("id", String, primary_key=True),
    Column("fence", Integer, nullable=False),
)

package = Table(
    "package",
    metadata,
    Column("id", String, primary_key=True),
    Column("tenant", String, nullable=False),
    Column("vnfd_id", String, nullable=False, server_default=""),
    Column("onboarding_state", String, nullable=False),
    Column("operational_state", String, nullable=False),
    Column("digest_policy", String, nullable=False, server_default="strict"),
    Column("blob_sha256", String, nullable=False, server_default=""),
    Column("vnfd", JSON),
    Column("images", JSON, nullable=False, server_default="{}"),  # image sha256 -> {format, path}
    Column("findings", JSON, nullable=False, server_default="[]"),
    Column("error", JSON),
    Column("request_id", String),
    UniqueConstraint("tenant", "request_id"),
    Index(
        "one_vnfd_a_tenant",
        "tenant",
        "vnfd_id",
        unique=True,
        sqlite_where=text("onboarding_state = 'ONBOARDED'"),
        postgresql_where=text("onboarding_state = 'ONBOARDED'"),
    ),
)

chain = Table(
    "chain",
    metadata,
    Column("id", String, primary_key=True),
    Column("tenant", String, nullable=False),
    Column("name", String, nullable=False),
    Column("state", String, nullable=False),
    Column("descriptor", JSON, nullable=False),  # ServiceChain
    Column("plan", JSON),  # as shown to people
    Column("body", JSON, nullable=False, server_default="{}"),  # ends, links, probe as realized
    Column("created_at", String, nullable=False),
    Column("realization", JSON),  # Realization: what stands; null in chains of before there was such a thing
    Column("grants", Integer, nullable=False, server_default="0"),  # of operations on it: generations rise with them
    UniqueConstraint("tenant", "name"),
)

vnf_instance = Table(
    "vnf_instance",
    metadata,
    Column("id", String, primary_key=True),
    Column("tenant", String, nullable=False),
    Column("name", String, nullable=False),
    Column("alias", String, nullable=False, server_default=""),
    Column("chain_id", String, nullable=False, server_default=""),
    Column("vnfd_id", String, nullable=False),
    Column("package_id", String, nullable=False),
    Column("flavour_id", String, nullable=False, server_default=""),
    Column("instantiation_state", String, nullable=False),
    Column("vnf_state", String),
    Column("vnfcs", JSON, nullable=False, server_default="[]"),
    Column("request_id", String),
    Column("created_at", String, nullable=False),
    Column("isolation", Integer),  # as modified
    Column("scale_levels", JSON, nullable=False, server_default="{}"),
    Column("realization", JSON),  # of one that stands alone
    UniqueConstraint("tenant", "request_id"),
    Index("instances_of_chain", "chain_id"),
)

operation = Table(
    "operation",
    metadata,
    Column("id", String, primary_key=True),
    Column("tenant", String, nullable=False),
    Column("operation", String, nullable=False),
    Column("state", String, nullable=False),
    Column("target", String, nullable=False),  # what people call it
    Column("target_id", String, nullable=False),
    Column("request_id", String),
    Column("params", JSON, nullable=False),
    Column("steps", JSON, nullable=False),
    Column("desired", JSON),  # Desired: what chain and instances are once the steps are done
    Column("error", JSON),
    Column("cancel_mode", String),
    Column("started_at", String, nullable=False),
    Column("state_entered_at", String, nullable=False),
    UniqueConstraint("tenant", "request_id"),
    Index("operations_by_state", "state"),
)

step_event = Table(  # the intent log
    "step_event",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("operation_id", String, nullable=False),
    Column("step", String, nullable=False),
    Column("state", String, nullable=False),
    Column("at", String, nullable=False),
    Column("output", JSON),
    Column("problem", JSON),
    Index("log_of_operation", "operation_id", "seq"),
)

op_subject = Table(  # which instances an operation is about; one open operation an instance (SOL003 5.4.1.2)
    "op_subject",
    metadata,
    Column("operation_id", String, primary_key=True),
    Column("subject_id", String, primary_key=True),
    Column("lane", String, nullable=False, server_default=""),
    Column("open", Boolean, nullable=False),
    Index(
        "one_open_operation",
        "subject_id",
        unique=True,
        sqlite_where=text("open"),
        postgresql_where=text("open"),
    ),
)

resource = Table(  # everything that may exist on a VIM: written before the call, gone after its removal
    "resource",
    metadata,
    Column("id", String, primary_key=True),
    Column("tenant", String, nullable=False),
    Column("chain_id", String, nullable=False, server_default=""),
    Column("vnf_instance_id", String, nullable=False, server_default=""),
    Column("vim", String, nullable=False),
    Column("host", String, nullable=False, server_default=""),
    Column("kind", String, nullable=False),
    Column("name", String, nullable=False, server_default=""),
    Column("handle", JSON, nullable=False),
    Column("addresses", JSON, nullable=False, server_default="[]"),
    Index("resources_of_chain", "chain_id"),
    Index("resources_of_instance", "vnf_instance_id"),
)

reservation = Table(  # capacity that is ours from the decision on
    "reservation",
    metadata,
    Column("resource_id", String, primary_key=True),
    Column("kind", String, primary_key=True),  # host | link
    Column("tenant", String, nullable=False),
    Column("operation_id", String, nullable=False),
    Column("body", JSON, nullable=False),
    Index("reservations_of_operation", "operation_id"),
)

observed_cost = Table(  # what realizations really cost, by host: preferred to a plugin's priors
    "observed_cost",
    metadata,
    Column("vim", String, primary_key=True),
    Column("host", String, primary_key=True),
    Column("runtime", String, primary_key=True),
    Column("start_ms", Integer, nullable=False),
    Column("memory_bytes", Integer, nullable=False),
    Column("samples", Integer, nullable=False),
    Column("hop_us", Integer, nullable=False, server_default="0"),
    Column("hop_samples", Integer, nullable=False, server_default="0"),
)

outbox = Table(  # notifications, written in the transaction of the state that they announce
    "outbox",
    metadata,
    Column("cursor", Integer, primary_key=True, autoincrement=True),
    Column("tenant", String, nullable=False),
    Column("at", String, nullable=False),
    Column("type", String, nullable=False),
    Column("body", JSON, nullable=False),
)

vim = Table(  # VIM connections that were added at run time
    "vim",
    metadata,
    Column("name", String, primary_key=True),
    Column("kind", String, nullable=False),
    Column("config", JSON, nullable=False),  # without secrets
    Column("sealed", JSON(none_as_null=True)),  # the secrets, see sealing.py
)
