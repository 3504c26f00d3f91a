"""HAFM: sing, and get the band.

    >>> import hafm
    >>> sorted(hafm.__all__)[:5]
    ['Accompaniment', 'Accompanist', 'Arrangement', 'Corrections', 'HafmError']

In: a sung vocal. Out: an instrumental accompaniment of exactly the same length, and a mix. Importing this
package loads nothing, not even `typing`: each name is fetched when it is first used (PEP 562), and until
`hafm.__main__` is there, Ctrl-C is Python's.
"""

from hafm.version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hafm.arrange.arranger import Arrangement, arrange_sheet
    from hafm.errors import HafmError
    from hafm.generate.accompaniment import Accompaniment
    from hafm.generate.accompany import Accompanist
    from hafm.guide.corrections import Corrections
    from hafm.guide.lead_sheet import LeadSheet

__all__ = [
    "Accompaniment",
    "Accompanist",
    "Arrangement",
    "Corrections",
    "HafmError",
    "LeadSheet",
    "__version__",
    "arrange_sheet",
]

_HOME = {
    "Accompaniment": "hafm.generate.accompaniment",
    "Accompanist": "hafm.generate.accompany",
    "Arrangement": "hafm.arrange.arranger",
    "Corrections": "hafm.guide.corrections",
    "HafmError": "hafm.errors",
    "LeadSheet": "hafm.guide.lead_sheet",
    "arrange_sheet": "hafm.arrange.arranger",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
