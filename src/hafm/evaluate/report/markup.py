"""HTML in which text cannot become markup.

In: text from anywhere (a song's name is a file's name) and pieces of markup. Out: `Html`, a string that is
markup already.

Convention: whatever is not `Html` is text, and is escaped where it enters. So nothing that is made of
`element` can hold a tag that this package did not write; the only other way to an `Html` is to call it, as
for the style sheet.
"""

from html import escape

__all__ = ["Html", "element", "joined"]

_VOID = frozenset({"br", "img", "input", "meta"})


class Html(str):
    """Markup, as opposed to text."""

    __slots__ = ()


def joined(*parts: str) -> Html:
    """Pieces one after another, text among them escaped.

    >>> joined(element("b", "1 < 2"), " & more")
    '<b>1 &lt; 2</b> &amp; more'
    """
    return Html("".join(part if isinstance(part, Html) else escape(part) for part in parts))


def element(tag: str, *parts: str, **attributes: str | bool | None) -> Html:
    """An element with its contents.

    Args:
        tag: its name.
        parts: text, or markup, in order.
        attributes: `class_` stands for `class`, and other underscores for hyphens. True gives the name alone,
            None and False give nothing.

    >>> element("p", "a < b", class_="note", hidden=True, id=None)
    '<p class="note" hidden>a &lt; b</p>'
    >>> element("img", alt='"')
    '<img alt="&quot;">'
    """
    written = "".join(
        f" {name}" if value is True else f' {name}="{escape(value)}"'
        for name, value in ((_name(key), value) for key, value in attributes.items())
        if value is not None and value is not False
    )
    if tag in _VOID:
        assert not parts, f"<{tag}> holds nothing"
        return Html(f"<{tag}{written}>")
    return Html(f"<{tag}{written}>{joined(*parts)}</{tag}>")


def _name(key: str) -> str:
    return key.rstrip("_").replace("_", "-")
