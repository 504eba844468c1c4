"""How what a user holds shows itself in a notebook: as a card, drawn by the reports when one asks for it.

class Sweep(Card): ...
"""


class Card:
    """Anything that `report.notebook` knows how to show."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        from backtest.report.notebook import html_of

        return html_of(self)
