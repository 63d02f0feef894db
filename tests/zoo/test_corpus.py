"""The parts of the training scripts that shape the data."""

import itertools

import torch

from weightbench.zoo.train.rst import plain_text
from weightbench.zoo.train.stream import CONTEXT, windows

SOURCE = r"""
:mod:`bisect` --- Array bisection
=================================

.. module:: bisect
   :synopsis: Dropped.
.. a comment
   of two lines

This module *really* provides ``list`` support; see :ref:`the docs <label>`,
:class:`~collections.OrderedDict` and :pep:`8`. A ``'\n'`` keeps its backslash.

=====  =====
table  table
=====  =====
a      b
=====  =====

.. function:: insort(a, x)
              insort_right(a, x)

   Insert *x*.  Example::

       >>> insort([1], 2)
       if x:
           pass

   .. versionadded:: 3.1

   * one item
     goes on
   * another
"""

PLAIN = r"""bisect - Array bisection
This module really provides list support; see the docs, OrderedDict and PEP 8. A '\n' keeps its backslash.
function insort(a, x)
function insort_right(a, x)
Insert x. Example:
    >>> insort([1], 2)
    if x:
        pass
New in version 3.1
* one item goes on
* another
"""


def test_plain_text() -> None:
    assert plain_text(SOURCE) == PLAIN


def test_windows_cover_an_epoch_without_repeats() -> None:
    stream = torch.arange(10 * CONTEXT + 5)
    epoch = list(itertools.islice(windows(stream, 3, seed=0), 3))
    starts = sorted(int(row[0]) for batch in epoch for row in batch)
    assert len(set(starts)) == 9
    assert {later - earlier for earlier, later in itertools.pairwise(starts)} == {CONTEXT}
    again = list(itertools.islice(windows(stream, 3, seed=0), 3))
    assert all(torch.equal(one, other) for one, other in zip(epoch, again, strict=True))
