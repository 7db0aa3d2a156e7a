"""Whether text on a page stands out from what is behind it (WCAG 2.2, success criterion 1.4.3)."""

from __future__ import annotations

import re

#: Each pair of colours, of a text and of the nearest background behind it, that the page shows.
_PAIRS = """
const solid = element => {
  for (; element; element = element.parentElement) {
    const colour = getComputedStyle(element).backgroundColor;
    if (!colour.startsWith('rgba')) return colour;
  }
  return 'rgb(255, 255, 255)';
};
const found = new Set();
for (const element of document.querySelectorAll('main *')) {
  const texts = [...element.childNodes].some(node => node.nodeType == 3 && node.textContent.trim());
  const drawn = element.closest('svg');
  if (!texts || !element.checkVisibility() || (drawn && !arguments[0])) continue;
  const style = getComputedStyle(element);
  found.add((drawn ? style.fill : style.color) + '|' + solid(element));
}
return [...found];
"""


def luminance(color: str) -> float:
    """Relative luminance of a colour as a browser writes it, 0 to 1."""
    channels = [int(part) / 255 for part in re.findall(r"\d+", color)[:3]]
    low = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * low[0] + 0.7152 * low[1] + 0.0722 * low[2]


def assert_text_stands_out(browser, path, *, dark: bool, drawings: bool) -> None:
    """Open a page in light or dark and compare every text with what is behind it.

    Args:
        browser: of :mod:`chromium`.
        path: of the page.
        dark: what the reader prefers.
        drawings: those in drawings too, where they stand on the page itself and not on a shape.
    """
    browser.open(path, dark=dark)
    background = browser.run("return getComputedStyle(document.body).backgroundColor")
    assert (luminance(background) < 0.1) == dark
    pairs = browser.run(_PAIRS, drawings)
    assert len(pairs) > 5
    for pair in pairs:
        light, shade = sorted((luminance(part) for part in pair.split("|")), reverse=True)
        assert (light + 0.05) / (shade + 0.05) >= 4.5, pair
