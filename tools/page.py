"""An executed notebook as one HTML page that needs no network: all embedded, mathematics as MathML."""

import re

from jinja2 import DictLoader
from latex2mathml.converter import convert
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

# nbconvert's classic template keeps the figures' alternative texts; its scripts (jQuery, RequireJS, Mermaid,
# MathJax, each loaded from the network) have nothing to do here.
TEMPLATE = """{% extends 'index.html.j2' %}
{% block html_head_js %}{% endblock %}
{% block html_head_js_mathjax %}{% endblock %}
{% block html_head_css %}<style>
div#notebook-container { width: auto; max-width: 1100px; margin: auto; }
img { max-width: 100%; height: auto; }
math[display="block"] { margin: 1em 0; } table { margin: 1em 0; }
</style>{% endblock %}"""


class MathMLRenderer(IPythonRenderer):
    """Markdown to HTML, with formulas turned into MathML."""

    def inline_math(self, body: str) -> str:
        return convert(body.strip())

    def block_math(self, body: str) -> str:
        return convert(body.strip(), display="block")

    def latex_environment(self, name: str, body: str) -> str:
        return convert(rf"\begin{{{name}}}{body}\end{{{name}}}", display="block")


def to_html(markdown: str) -> str:
    return MarkdownWithMath(renderer=MathMLRenderer(escape=False)).render(markdown)


def html_page(notebook) -> str:
    """The page, the same for the same notebook, byte for byte."""
    exporter = HTMLExporter(
        template_name="classic",
        extra_loaders=[DictLoader({"page.html.j2": TEMPLATE})],
        template_file="page.html.j2",
        filters={"markdown2html": to_html},
    )
    title = next(match[1] for cell in notebook.cells if (match := re.match(r"# +(.+)", cell.source)))
    page, _ = exporter.from_notebook_node(notebook, resources={"metadata": {"name": title}})
    return page
