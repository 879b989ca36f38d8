"""All that a VIM plugin may import besides the generated stubs. See docs/plugins.md.

A plugin makes a `handlers.Plugin` out of small async handlers and hands it to `serve.run`; the kit does the wire.
Modules: handlers (what to write), problems (how to fail), serve (the process), processes (children), publish
(what the manager watches), digest, inflight, fence, check, core, servicers, work (how the kit works inside).
"""
