"""How each kind of step is done and undone: one pair a kind, side by side.

A do is idempotent by its minted id, an undo by terminate-what-may-not-exist; both raise ProblemError.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace

from vnfm.lcm import probing
from vnfm.lcm.operation import StepOutput
from vnfm.lcm.ports import Blobs, Say, Vims
from vnfm.lcm.steps import Step, StepKind
from vnfm.model.problem import Retry, problem
from vnfm.model.resources import Handle, LinkEnd, Owner, PathSpec, ProbeResult

NOTHING = StepOutput()


@dataclass(frozen=True, slots=True)
class Context:
    """What a step may use. `handles` holds what is known of every resource of the operation's subjects, by id; `starts`
    says how often the step or its undoing was started so far, this time included."""

    vims: Vims
    blobs: Blobs
    owner: Owner
    handles: Mapping[str, Handle]
    say: Say
    starts: int = 1
    ends: Mapping[str, LinkEnd] = field(default_factory=dict)  # of links that this operation has allocated, by id

    def handle(self, resource_id: str) -> Handle:
        """The stored handle, or one that holds only the id: the plugin finds the object by its stamp."""
        return self.handles.get(resource_id) or Handle(resource_id)


Act = Callable[[Step, Context], Awaitable[StepOutput]]


@dataclass(frozen=True, slots=True)
class Action:
    """The two ways of a step."""

    do: Act
    undo: Act


async def _nothing(step: Step, ctx: Context) -> StepOutput:
    return NOTHING


async def _put_image(step: Step, ctx: Context) -> StepOutput:
    assert step.image
    image = step.image
    await ctx.vims.get(step.vim).put_image(image.sha256, image.format, ctx.blobs.path(image.sha256), ctx.say)
    return NOTHING


async def _link(step: Step, ctx: Context) -> StepOutput:
    assert step.link
    return StepOutput(await ctx.vims.get(step.vim).allocate_link(step.link, ctx.owner, ctx.say))


async def _join(step: Step, ctx: Context) -> StepOutput:
    assert step.join
    pieces = step.join.pieces
    told = {piece: _end_of(piece, ctx) for piece in pieces.all}
    segment = told[pieces.leads].segment
    ends = [
        # where an end listens is its own affair, unless all of them listen to a group
        replace(end, segment=segment if segment.group else replace(segment, udp_port=end.segment.udp_port))
        for piece, end in told.items()
        if piece != step.join.link_id
    ]
    vim = ctx.vims.get(step.vim)
    return StepOutput(await vim.join_link(ctx.handle(step.join.link_id), ends, ctx.owner, ctx.say))


def _end_of(piece: str, ctx: Context) -> LinkEnd:
    end = ctx.ends.get(piece)
    if end is None:
        raise problem("vim-failed", "the VIM made the link, but did not tell by what it can be joined", instance=piece)
    return end


async def _sap(step: Step, ctx: Context) -> StepOutput:
    assert step.sap
    return StepOutput(await ctx.vims.get(step.vim).allocate_sap(step.sap, ctx.owner, ctx.handles, ctx.say))


async def _compute(step: Step, ctx: Context) -> StepOutput:
    assert step.compute
    return StepOutput(await ctx.vims.get(step.vim).allocate_compute(step.compute, ctx.owner, ctx.handles, ctx.say))


async def _path(step: Step, ctx: Context) -> StepOutput:
    assert step.path
    return await _switch(step, step.path, ctx)


async def _path_back(step: Step, ctx: Context) -> StepOutput:
    """To the former hops by one switch; a path that had none goes."""
    if step.former is None:
        return await _terminate_allocated(step, ctx)
    await _switch(step, step.former, ctx)
    return NOTHING


async def _switch(step: Step, path: PathSpec, ctx: Context) -> StepOutput:
    vim = ctx.vims.get(step.vim)
    numbered = replace(path, generation=generation(step, ctx.starts))
    return StepOutput(await vim.allocate_path(numbered, ctx.owner, ctx.handles, ctx.say))


def generation(step: Step, starts: int) -> int:
    """Rises with every start of the step or of its undoing; a call that is joined again keeps its own."""
    assert step.path
    return step.path.generation + starts


async def _terminate_allocated(step: Step, ctx: Context) -> StepOutput:
    if step.makes:
        await ctx.vims.get(step.vim).terminate(ctx.handle(step.makes), ctx.owner, ctx.say)
    return NOTHING


async def _remove(step: Step, ctx: Context) -> StepOutput:
    assert step.removal
    await ctx.vims.get(step.vim).terminate(ctx.handle(step.removal.resource_id), ctx.owner, ctx.say)
    return NOTHING


async def _probe(step: Step, ctx: Context) -> StepOutput:
    assert step.probe
    result = await probing.probe(ctx.vims, step.vim, step.probe, ctx.owner, ctx.handle)
    if not result.unsupported and not result.complete:
        raise problem("path-broken", describe_break(result), instance=step.probe.path_id, retry=Retry.SAME_CALL)
    return StepOutput(probe=result)


def describe_break(result: ProbeResult) -> str:
    """Where the packets were lost, in words."""
    for hop in result.hops:
        if hop.received < hop.sent or hop.sent == 0:
            return f"probe packets were lost between {hop.from_} and {hop.to}: {hop.sent} sent, {hop.received} received"
    return "probe packets crossed every hop but did not all come back"


ACTIONS: Mapping[StepKind, Action] = {
    StepKind.PUT_IMAGE: Action(_put_image, _nothing),
    StepKind.LINK: Action(_link, _terminate_allocated),
    StepKind.JOIN: Action(_join, _nothing),
    StepKind.SAP: Action(_sap, _terminate_allocated),
    StepKind.COMPUTE: Action(_compute, _terminate_allocated),
    StepKind.PATH: Action(_path, _path_back),
    StepKind.PROBE: Action(_probe, _nothing),
    StepKind.TERMINATE: Action(_remove, _nothing),
}
