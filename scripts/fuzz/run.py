#!/usr/bin/env python3
"""Sends mutated requests over all routes and protocols to a server of its own, and looks what has become of it.

    scripts/fuzz/run.py [--binary FILE] [--count 20000] [--seed 1] [--workers 8]
    scripts/fuzz/run.py --seed 1 --only 4711     sends one of them once more, and shows it

Every request is made of the seed and its number alone. Ends with 1 when a promise is broken: the server lives, has about as
much memory as before, answered nothing with 500 or not at all, predicts, is as ready as before, ends at SIGTERM with 0, and
neither texts nor keys are in its log.
"""

import argparse
import os
import pathlib
import random
import sys
import tempfile

HOME = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(pathlib.Path(__file__).parent), str(HOME / ".python")]
# gRPC's own words about its connections.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import framing  # noqa: E402
import http2  # noqa: E402
import promises  # noqa: E402
import rest  # noqa: E402
import rpc  # noqa: E402
from campaign import Campaign  # noqa: E402
from exchange import exchange  # noqa: E402
from server import Keys, Server  # noqa: E402
from world import explore  # noqa: E402

# The share of each kind.
KINDS = [rest] * 11 + [rpc] * 4 + [framing] * 3 + [http2] * 2

# Requests of the same kinds before the memory is measured for the first time, with numbers of their own.
WARM_UP = 2000


def make(world, number):
    chance = random.Random(f"{world.seed} {number}")
    return chance.choice(KINDS).make(chance, world, number)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=pathlib.Path, default=HOME / "target/release/glassbox", help="the server")
    parser.add_argument("--count", type=int, default=20_000, help="how many requests")
    parser.add_argument("--seed", type=int, default=1, help="what they are made of")
    parser.add_argument("--workers", type=int, default=8, help="how many at the same time")
    parser.add_argument("--only", type=int, help="the number of one request, to be sent alone")
    parser.add_argument("--keep", type=pathlib.Path, default=HOME / "target/fuzz", help="where requests at fault are written")
    return parser.parse_args()


def main():
    options = arguments()
    print(f"seed {options.seed}, {options.count} requests, {options.workers} at a time", flush=True)
    with tempfile.TemporaryDirectory(prefix="glassbox-fuzz-") as folder:
        with Server(options.binary.resolve(), pathlib.Path(folder), Keys(options.seed)) as server:
            server.start()
            world = explore(server, options.seed)
            print(f"{len(world.operations)} operations, {len(world.calls)} methods of gRPC, {len(world.models)} models", flush=True)
            faults = one(server, world, options.only) if options.only is not None else everything(server, world, options)
    for fault in faults:
        print(f"FAULT: {fault}")
    sys.exit(bool(faults))


def one(server, world, number):
    request = make(world, number)
    print(f"{request.kind}: {request.route}")
    for piece in request.pieces:
        print(piece)
    answer = exchange(server.address, request)
    print(f"answered: {answer}")
    return promises.kept(server, world, before=None)


def everything(server, world, options):
    before = promises.Before(server)
    campaign = Campaign(server, lambda number: make(world, number), options)
    campaign.send(range(-min(WARM_UP, options.count // 2), 0))
    before.measure(server)
    print(f"memory after {len(campaign.answers)} requests to warm up: {before.resident >> 20} MiB", flush=True)
    campaign.send(range(options.count))
    campaign.report()
    return [*campaign.faults(), *promises.kept(server, world, before)]


main()
