"""Minimum cut of a sparse network (Dinic's algorithm), iterative: deep graphs need no deep stack."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

A, B = 0, 1  # the terminals: channels-first, channels-last (time-major, batch-major)
_ENDLESS = 1 << 80


class Cut:
    """Variables with one of two labels, and what it costs when they disagree."""

    def __init__(self) -> None:
        self.heads: list[list[int]] = [[], []]  # edges by variable
        self.to: list[int] = []
        self.room: list[int] = []  # capacity left; edge i ^ 1 is the reverse of edge i

    def variable(self) -> int:
        """A new free variable."""
        self.heads.append([])
        return len(self.heads) - 1

    def disagree(self, left: int, right: int, cost: int, back: int | None = None) -> None:
        """Pay ``cost`` when left is A and right is B, ``back`` (default: the same) when it is the other way round."""
        if left != right:
            self.heads[left].append(len(self.to))
            self.heads[right].append(len(self.to) + 1)
            self.to += [right, left]
            self.room += [cost, cost if back is None else back]

    def fan_out(self, source: int, users: Iterable[int], cost: int) -> None:
        """Pay ``cost`` once when any user's label differs from the source's (one Transpose serves them all)."""
        others = sorted(set(users) - {source})
        if len(others) == 1:
            self.disagree(source, others[0], cost)
        elif others:
            ahead, behind = self.variable(), self.variable()
            self.disagree(source, ahead, cost, 0)
            self.disagree(behind, source, cost, 0)
            for user in others:
                self.disagree(ahead, user, _ENDLESS, 0)
                self.disagree(user, behind, _ENDLESS, 0)

    def solve(self, prefer: int) -> tuple[list[int], int]:
        """The cheapest labels, and their cost; where labels cost the same, ``prefer`` is taken."""
        cost = 0
        while (level := self._levels(A, forward=True))[B] >= 0:
            pointer = [0] * len(self.heads)
            while pushed := self._augment(level, pointer):
                cost += pushed
        if prefer == A:
            reaches = self._levels(B, forward=False)
            return [B if depth >= 0 else A for depth in reaches], cost
        return [A if depth >= 0 else B for depth in self._levels(A, forward=True)], cost

    def _levels(self, start: int, forward: bool) -> list[int]:
        level = [-1] * len(self.heads)
        level[start] = 0
        queue = deque([start])
        while queue:
            node = queue.popleft()
            for edge in self.heads[node]:
                if self.room[edge if forward else edge ^ 1] > 0 and level[self.to[edge]] < 0:
                    level[self.to[edge]] = level[node] + 1
                    queue.append(self.to[edge])
        return level

    def _augment(self, level: list[int], pointer: list[int]) -> int:
        """Push flow along one shortest path; 0 when there is none left at these levels."""
        path: list[int] = []
        node = A
        while node != B:
            if pointer[node] < len(self.heads[node]):
                edge = self.heads[node][pointer[node]]
                if self.room[edge] > 0 and level[self.to[edge]] == level[node] + 1:
                    path.append(edge)
                    node = self.to[edge]
                else:
                    pointer[node] += 1
            elif path:
                node = self.to[path.pop() ^ 1]
                pointer[node] += 1
            else:
                return 0
        flow = min(self.room[e] for e in path)
        for edge in path:
            self.room[edge] -= flow
            self.room[edge ^ 1] += flow
        return flow
