"""A check of the gate as a picture: the measured value, and the side of the limit on which it must lie.

In: value and limit. Out: SVG for a cell beside its numbers.
"""

from markupsafe import Markup

from server.presentation.svg_charts import svg, tag

_WIDTH = 200


def limit_bar(name: str, value: float | None, limit: float | None, allowed: str | None) -> Markup | None:
    """Draw the allowed side of the limit as a band and the value as a dot; None where any is missing.

    `allowed` is `least` or `most`: the value must be at least, or at most, the limit.
    """
    if value is None or limit is None or allowed is None:
        return None
    low, high = min(0.0, value, limit), max(1.0, value, limit) * 1.05

    def px(number: float) -> float:
        return 6 + (number - low) / (high - low) * (_WIDTH - 12)

    left, right = (px(limit), px(high)) if allowed == "least" else (px(low), px(limit))
    parts = [
        tag("rect", "allowed", x=left, y=5, width=max(right - left, 0.5), height=12),
        tag("line", "axis", x1=6, x2=_WIDTH - 6, y1=11, y2=11),
        tag("line", "limit", x1=px(limit), x2=px(limit), y1=1, y2=21),
        tag("circle", "dot", cx=px(value), cy=11, r=4.5),
    ]
    words = f"value {value:.3g}, allowed is at {allowed} {limit:.3g}"
    return svg(name, words, _WIDTH, 22, Markup("").join(parts), kind="inline limit-bar")
