"""A plugin that is killed in the middle of a living chain: what stood, stands, and is found again."""

from __future__ import annotations

import grpc
import pytest
from contract_client import Caller, Refused, private_folder, spawned
from contract_live import Watch, altered, another_instance, counted_at, samples, sibling
from contract_targets import Target
from contract_world import World

from vnfm.pb.common.v1.common_pb2 import Handle
from vnfm.pb.vim.v1 import vim_pb2 as pb

LIVE = {
    pb.CAPABILITY_SAP,
    pb.CAPABILITY_PATH,
    pb.CAPABILITY_PROBE,
    pb.CAPABILITY_STEER,
    pb.CAPABILITY_BALANCE,
    pb.CAPABILITY_STATS,
}


def test_a_living_chain_outlives_its_plugin(spawnable: Target) -> None:
    with private_folder() as folder:
        with spawned(spawnable, folder) as process:
            caller = Caller(process.address)
            missing = LIVE - set(caller.hello(spawnable).capabilities)
            if missing:
                names = ", ".join(sorted(pb.Capability.Name(each) for each in missing))
                pytest.skip(f"{spawnable.name} does not offer {names}")
            world = World(caller, spawnable)
            request, special = _living_chain(world)
            path = pb.Resource(handle=Handle(resource_id=request.resource_id))
            assert world.probe(path).complete
            one = request.hops[1].compute.resource_id
            before = counted_at(samples(caller)[0], one, "in")
            process.popen.kill()
            process.popen.wait(10)
        with spawned(spawnable, folder) as process:
            again = Caller(process.address, manager_id=caller.manager_id)
            again.hello(spawnable)
            world = World(again, spawnable)
            try:
                watch = Watch(again)
                watch.close()
                states = {each.handle.resource_id: each.state for each in watch.seen if not each.listed}
                assert set(states.values()) == {pb.STATE_RUNNING}, states
                assert {request.resource_id, special.resource_id} <= set(states)
                for known in (request, special):
                    assert world.path(known).state == pb.STATE_RUNNING
                    answer = world.probe(pb.Resource(handle=Handle(resource_id=known.resource_id)), trace=True)
                    assert answer.complete or answer.unsupported, answer
                with pytest.raises(Refused) as refused:
                    world.path(altered(request, 1))
                assert refused.value.code == grpc.StatusCode.ABORTED
                after = counted_at(samples(again)[0], one, "in")
                assert after.in_packets >= before.in_packets, "counters only rise while the object lives"
                world.path(altered(request, 9, request.hops[0], request.hops[-2], request.hops[-1]))
                assert world.probe(path).complete
            finally:
                again.sweep()
            assert again.query() == []


def _living_chain(world: World) -> tuple[pb.AllocatePathRequest, pb.AllocatePathRequest]:
    """client - one (two replicas) - server at generation 2, and beside it a path for some traffic through a third."""
    request = world.chain()
    world.path(request)
    client, one, server = request.hops
    spread = pb.Hop()
    spread.CopyFrom(one)
    spread.replicas.extend([one.compute, another_instance(world, request)])
    wider = altered(request, 2, client, spread, server)
    world.path(wider)
    special = sibling(request, pb.Classifier(dscp=46), client, spread, server)
    world.path(special)
    return wider, special
