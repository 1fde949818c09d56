"""Cycles of dependencies between operations: an operation that must come before itself was not isolated, or was reordered.

Edges: write-write along a partition's offsets, write-read from whoever wrote a record to whoever read it, and, for the stricter
names, from each operation that had ended to those that began later, of the same process (`-process`) or of any (`-realtime`)."""

from collections import defaultdict

from operations import FAILED, OK, Operation


def find_cycles(operations: list[Operation], values, writer):
    """Pairs of an anomaly's name and a sentence; each strongly connected component is reported under its weakest name."""
    numbers = {id(operation): number for number, operation in enumerate(operations)}
    write_write = _write_write(values, writer, numbers)
    write_read = _write_read(operations, writer, numbers)
    process = _order(operations, by_process=True)
    time = _order(operations, by_process=False)
    kinds = [
        ("G0", [write_write]), ("G1c", [write_write, write_read]), ("G0-process", [write_write, process]),
        ("G1c-process", [write_write, write_read, process]), ("G0-realtime", [write_write, time]),
        ("G1c-realtime", [write_write, write_read, time]),
    ]
    reported: set[int] = set()
    for name, edges in kinds:
        for component in _components(edges):
            members = sorted(member for member in component if member < len(operations))
            if len(members) > 1 and not reported.intersection(members):
                reported.update(members)
                some = ", ".join(_describe(operations[member]) for member in members[:4])
                yield name, f"{len(members)} operations each before the other: {some}"


def _describe(operation: Operation) -> str:
    sends = " ".join(f"send {key}/{offset}={value}" for key, offset, value in operation.sends[:2])
    polls = " ".join(f"poll {key}/{offset}={value}" for key, offset, value in operation.polls[:2])
    return f"[{operation.process} at {operation.start:.3f} {sends}{' ' if sends and polls else ''}{polls}]"


def _write_write(values, writer, numbers):
    edges = defaultdict(set)
    for key, offsets in values.items():
        before = None
        for offset in sorted(offsets):
            # An offset with several values is told by another name.
            found = writer.get((key, min(offsets[offset])))
            if found is None:
                continue
            number = numbers[id(found)]
            if before is not None and before != number:
                edges[before].add(number)
            before = number
    return edges


def _write_read(operations, writer, numbers):
    edges = defaultdict(set)
    for number, operation in enumerate(operations):
        for key, _, value in operation.polls:
            found = writer.get((key, value))
            if found is not None and found is not operation:
                edges[numbers[id(found)]].add(number)
    return edges


def _order(operations, by_process: bool):
    """From each that had ended to those that began later, of the same process or of all. Over nodes that stand for moments, so that
    there are no more edges than operations, nearly. Sends that were under way together have no order of this kind."""
    edges = defaultdict(set)
    events = []
    for number, operation in enumerate(operations):
        events.append((operation.start, 1, number))
        if operation.outcome == OK and operation.end is not None:
            events.append((operation.end, 0, number))
    moments: dict[str, int] = {}
    following = len(operations)
    for _, kind, number in sorted(events):
        line = operations[number].process if by_process else ""
        moment = moments.get(line)
        if kind == 0:
            if moment is not None:
                edges[moment].add(following)
            edges[number].add(following)
            moments[line] = following
            following += 1
        elif moment is not None and operations[number].outcome != FAILED:
            edges[moment].add(number)
    return edges


def _components(parts):
    """Tarjan's strongly connected components of more than one node, without recursion."""
    nodes = {node for edges in parts for node in edges}

    def successors(node):
        for edges in parts:
            yield from edges.get(node, ())

    order, low, on_stack, stack, count = {}, {}, set(), [], 0
    for root in nodes:
        if root in order:
            continue
        work = [(root, successors(root))]
        order[root] = low[root] = count
        count += 1
        stack.append(root)
        on_stack.add(root)
        while work:
            node, rest = work[-1]
            for child in rest:
                if child not in order:
                    order[child] = low[child] = count
                    count += 1
                    stack.append(child)
                    on_stack.add(child)
                    work.append((child, successors(child)))
                    break
                if child in on_stack:
                    low[node] = min(low[node], order[child])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == order[node]:
                    component = []
                    while True:
                        member = stack.pop()
                        on_stack.discard(member)
                        component.append(member)
                        if member == node:
                            break
                    if len(component) > 1:
                        yield component
