"""An executed notebook as one HTML page that needs no network: all embedded, mathematics as MathML."""

import html
import re
from pathlib import Path

from jinja2 import FileSystemLoader
from latex2mathml.converter import convert
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from pygments.formatters import HtmlFormatter

FOLDER = Path(__file__).parent


class PageRenderer(IPythonRenderer):
    """Markdown to HTML, with formulas as MathML and with the headings noted down for the contents."""

    def __init__(self):
        super().__init__(escape=False)
        self.headings = []

    def heading(self, text: str, level: int, **attributes) -> str:
        anchor = html.escape(re.sub(r"<[^>]*>", "", text).replace(" ", "-"))
        self.headings.append((level, anchor, text))
        return f'<h{level} id="{anchor}">{text}</h{level}>\n'

    def inline_math(self, body: str) -> str:
        return convert(body.strip())

    def block_math(self, body: str) -> str:
        return convert(body.strip(), display="block")


def html_page(notebook) -> str:
    """Return the page, which is the same for the same notebook, byte for byte."""
    light = HtmlFormatter(style="default").get_style_defs(".highlight")
    dark = HtmlFormatter(style="github-dark").get_style_defs(".highlight")
    style = f"{light}\n@media screen and (prefers-color-scheme: dark) {{\n{dark}\n}}\n"
    style += (FOLDER / "page.css").read_text("utf-8")
    renderer = PageRenderer()
    exporter = HTMLExporter(
        template_name="basic",
        template_file="page.html.j2",
        extra_loaders=[FileSystemLoader(FOLDER, encoding="utf-8")],
        filters={"markdown2html": MarkdownWithMath(renderer=renderer).render},
    )
    exporter.environment.globals.update(headings=renderer.headings, style=style)
    return exporter.from_notebook_node(notebook)[0].strip() + "\n"
