"""Write the page in which `dvc plots show` draws plots without a network: `python scripts/offline_plots.py PAGE`.

DVC's own page loads Vega from a server. This one contains Vega, as the package vl-convert-python brings it, and lacks
the place where DVC puts its links to that server. scripts/setup.sh writes it and sets DVC's `plots.html_template`.
"""

import sys
from pathlib import Path

import vl_convert

VEGA_LITE = "5.21"  # DVC's templates are written for Vega-Lite 5
PAGE = """<!DOCTYPE html>
<html>
<head>
    <meta charset="utf-8">
    {refresh_tag}
    <title>DVC Plot</title>
    <script>VEGA</script>
    <style>
        body { font-family: sans-serif; margin: 24px; }
        table { border-spacing: 15px; }
        img { max-width: 100%; }
    </style>
</head>
<body>
    {plot_divs}
</body>
</html>
"""


def write_page(path: Path) -> None:
    """Write the page, whole or not at all."""
    vega = vl_convert.javascript_bundle(vl_version=VEGA_LITE)  # type: ignore[call-arg]
    if "</script" in vega or any(placeholder in vega for placeholder in ("{plot_divs}", "{refresh_tag}", "{scripts}")):
        raise ValueError("the Vega of vl-convert-python cannot be put into a page: it contains a reserved text")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(PAGE.replace("VEGA", vega), encoding="utf-8")
    partial.replace(path)


if __name__ == "__main__":
    write_page(Path(sys.argv[1]))
