"""Build the docs site from the notebooks: nbconvert writes Markdown, mkdocs-material renders it.

API pages begin with the public names of their module. mkdocs is strict: a broken link or a page outside of the nav is
an error. With Chromium, every page is opened: a console message or a page wider than its window is an error.

    python docs/build_site.py            build `_docs/`
    python docs/build_site.py --open     only open the pages of the site in `_docs/`
"""
import ast, functools, http.server, importlib, inspect, logging, re, shutil, sys, threading
from pathlib import Path
from urllib.parse import urlsplit

import nbformat, yaml
from fastcore.docments import docments

root = Path(__file__).resolve().parent.parent
source = 'https://github.com/musiclm/musiclm/blob/main/' # where files of the repository are shown
widths = 1400, 400 # of the windows that pages are opened in
floors = dict(zip('01234', ('Music', 'Tokens and corpora', 'Generating', 'Judging', 'People')))

def page_name(path:str) -> str: # 'tutorials/quickstart.md'; the number of a module's notebook is dropped
    "The page that a notebook becomes."
    p = Path(path)
    return p.with_name(re.sub(r'^\d+_', '', p.stem) + '.md').as_posix()

def math(text:str) -> str:
    "Replace `$…$` and `$$…$$` outside of code by MathML, which browsers render without any script."
    from latex2mathml.converter import convert
    block = lambda m: '\n\n<div class="equation">' + convert(m[1].strip(), display='block') + '</div>\n\n'
    inline = lambda s: re.sub(r'(?<![\\$\w])\$(?!\s)([^$\n]+?)(?<!\s)\$(?![\w$])', lambda m: convert(m[1]), s)
    parts = re.split(r'(^```.*?^```|`[^`\n]+`)', text, flags=re.M|re.S)
    return ''.join(p if i%2 else inline(re.sub(r'\$\$(.+?)\$\$', block, p, flags=re.S)) for i, p in enumerate(parts))

def link_names(text:str, names:dict, up:str='') -> str: # names: public name -> its module
    "Link code spans that are public names to the API pages, outside of code blocks, links and headings."
    def link(m): return f'[{m[0]}]({up}{names[m[1]]}.md#{m[1]})' if m[1] in names else m[0]
    lines = re.split(r'(^```.*?^```|^#.*?$|\[[^\]]*\]\([^)]*\))', text, flags=re.M|re.S)
    return ''.join(p if i%2 else re.sub(r'`([A-Za-z]\w+)`', link, p) for i, p in enumerate(lines))

def clean_output(out) -> None:
    "Tables without their own style sheet, in a box that scrolls."
    html = out.get('data', {}).get('text/html')
    if html is None: return
    html = re.sub(r'\n\s*\n+', '\n', re.sub(r'<style.*?</style>', '', html, flags=re.S)).strip()
    out.data = {'text/html': f'<div class="cell-output">{html}</div>'} if html else {}

def notebook_md(path:Path, names:dict, hide_code:bool=False) -> tuple: # Markdown, {name: bytes}
    "A notebook as Markdown, with its pictures; `hide_code` folds the code."
    from nbconvert import MarkdownExporter
    nb, up = nbformat.read(path, 4), '../'*(len(path.relative_to(root/'nbs').parts) - 1)
    nb.cells = [c for c in nb.cells if not re.search(r'^#\| ?(hide|default_exp)|nbdev_export\(', c.source, flags=re.M)]
    for c in nb.cells:
        if c.cell_type == 'markdown':
            text = re.sub(r'\]\(([^):\s]+)\.ipynb', lambda m: '](' + page_name(m[1]), math(c.source))
            c.source = link_names(text, names, up)
        if c.cell_type != 'code': continue
        if re.search(r'^#\| ?echo: ?false', c.source, flags=re.M): c.source = ''
        c.source = re.sub(r'^#\|.*\n?', '', c.source, flags=re.M)
        for out in c.outputs: clean_output(out)
    nb.metadata['language_info'] = {'name': 'python'}
    where = {'unique_key': path.stem, 'output_files_dir': path.stem + '_files'}
    text, res = MarkdownExporter().from_notebook_node(nb, where)
    figure = r'<div class="figure" markdown="1">\n![figure](\1)\n</div>'
    text = re.sub(r'^!\[\w+\]\((\S+_files/\S+)\)', figure, text, flags=re.M)
    folded = r'<details class="code" markdown="1"><summary>Code</summary>\n\n\g<0>\n\n</details>'
    if hide_code: text = re.sub(r'^```python\n.*?^```$', folded, text, flags=re.M|re.S)
    return text, res['outputs']

def cell(text) -> str: return ' '.join(str(text or '').split()).replace('|', '\\|')

def signature(name:str, f) -> str:
    "A signature as Python would write it, a parameter a line where it is long."
    sig = inspect.signature(f)
    shown = [re.sub(r"<(?:function|class) '?([\w.]+).*?>", r'\1', str(p)) for p in sig.parameters.values()]
    back = sig.return_annotation
    back = '' if back is sig.empty or inspect.isclass(f) else f' -> {inspect.formatannotation(back)}'
    bare = [i for i, p in enumerate(sig.parameters.values()) if p.kind == p.KEYWORD_ONLY]
    if bare and not any(p.kind == p.VAR_POSITIONAL for p in sig.parameters.values()): shown.insert(bare[0], '*')
    flat = f'{name}({", ".join(shown)}){back}'
    return flat if len(flat) <= 88 else f'{name}(\n    ' + ',\n    '.join(shown) + f',\n){back}'

def parameters_md(f) -> str:
    "The docments of a function as a table of parameters, and what it returns."
    found = docments(f, full=True)
    code = lambda o: f'`{cell(o)}`' if o not in ('', None) else ''
    kind = lambda a: '' if a in (None, inspect.Parameter.empty) else code(inspect.formatannotation(a))
    default = lambda d: '' if d is inspect.Parameter.empty else code(getattr(d, '__name__', repr(d)))
    back = found.pop('return', None)
    rows = [f'| `{n}` | {kind(p.anno)} | {default(p.default)} | {cell(p.docment)} |'
            for n, p in found.items() if n != 'self']
    table = ['| parameter | type | default | meaning |\n|---|---|---|---|\n' + '\n'.join(rows)] if rows else []
    if back and not inspect.isclass(f): table += [f'**Returns** {kind(back.anno)} {cell(back.docment)}']
    return '\n\n'.join(table)

def object_md(name:str, f, file:Path, text:str) -> str:
    "One public name: signature, docstring, parameters, methods, and a link to its line."
    if not (inspect.isfunction(f) or inspect.isclass(f)):
        nodes = [n for n in ast.parse(text).body if isinstance(n, (ast.Assign, ast.AnnAssign))]
        parts = {n: ast.get_source_segment(text, n) for n in nodes}
        node = next((n for n, part in parts.items() if name in re.findall(r'\w+', part.split('=')[0])), None)
        lines = parts[node].splitlines() if node else [f'{name} = {f!r}'[:200]]
        line, body = node.lineno if node else 1, '\n'.join(['```python', *lines[:12], *['...'][len(lines) < 13:], '```'])
    else:
        line = inspect.getsourcelines(f)[1]
        body = f'```python\n{signature(name, f)}\n```\n\n{inspect.cleandoc(f.__doc__ or "")}\n\n{parameters_md(f)}'
        methods = [(n, m) for n, m in vars(f).items() if inspect.isfunction(m) and n[0] != '_' and m.__doc__
                   ] if inspect.isclass(f) else []
        if methods: body += '\n\n| method | what it does |\n|---|---|\n' + '\n'.join(
            f'| `{cell(re.sub(r"self(, )?", "", signature(n, m), count=1))}` | {cell(m.__doc__)} |' for n, m in methods)
    return f'### {name} {{#{name} .api}}\n\n{body}\n\n[source]({source}musiclm/{file.name}#L{line})'

def first_line(f) -> str:
    "The first line of a docstring, for the index."
    return cell(inspect.cleandoc(f.__doc__).split('\n')[0]) if callable(f) and f.__doc__ else 'A constant.'

def write_pages(nbs:Path, out:Path) -> dict: # floor -> pages of its modules
    "Write every page of the site into `out`."
    books = sorted(p for p in nbs.rglob('*.ipynb') if '.ipynb_checkpoints' not in p.parts)
    modules = {page_name(p.name)[:-3]: p for p in books if p.parent == nbs and p.name[0].isdigit()}
    public = {m: list(getattr(importlib.import_module(f'musiclm.{m}'), '__all__', [])) for m in modules}
    names = {n: m for m in reversed(public) if m != 'all' for n in public[m]}
    api, sections = ['# All names\n\n> Every public name of every module.'], {}
    for p in books:
        name = page_name(p.relative_to(nbs).as_posix())
        text, files = notebook_md(p, names, hide_code=name.startswith('experiments/'))
        module = name[:-3]
        if module in modules:
            sections.setdefault(floors[p.name[0]], []).append(name)
            here = [n for n in public[module] if names.get(n) == module]
            if here:
                mod, file = importlib.import_module(f'musiclm.{module}'), root/'musiclm'/f'{module}.py'
                code = file.read_text(encoding='utf-8')
                objects = '\n\n'.join(object_md(n, getattr(mod, n), file, code) for n in here)
                title = re.match(r'\s*#.*?\n+(>.*?\n+)?', text, flags=re.S)
                text = f'{title[0]}\n## Public names\n\n{objects}\n\n## The notebook\n\n{text[title.end():]}'
                api.append(f'## [{module}]({name})\n\n| name | what it is |\n|---|---|\n' + '\n'.join(
                    f'| [`{n}`]({name}#{n}) | {first_line(getattr(mod, n))} |' for n in here))
        (out/name).parent.mkdir(parents=True, exist_ok=True)
        (out/name).write_text(text, encoding='utf-8')
        for f, data in files.items():
            (out/name).with_name(p.stem + '_files').mkdir(exist_ok=True)
            ((out/name).parent/f).write_bytes(data)
    from musiclm.options import cli_reference
    import musiclm.cli # noqa: F401, which registers the commands
    (out/'api.md').write_text('\n\n'.join(api), encoding='utf-8')
    commands = '# Commands\n\n> Every command with its options, as `--help` prints them.\n\n' + cli_reference()
    (out/'commands.md').write_text(commands, encoding='utf-8')
    shutil.copytree(nbs/'images', out/'images')
    shutil.copy(root/'docs'/'styles.css', out)
    shutil.copy(root/'data'/'results'/'leaderboard.html', out/'experiments'/'leaderboard_pieces.html')
    return sections

def build(site:Path) -> None:
    "Build the site with mkdocs in strict mode; what is missing or broken stops it."
    from mkdocs.commands.build import build as mkdocs_build
    from mkdocs.config import load_config
    shutil.rmtree(src := root/'_proc', ignore_errors=True)
    sections = write_pages(root/'nbs', src)
    config = root/'docs'/'mkdocs.yml'
    nav = yaml.safe_load(config.read_text(encoding='utf-8'))['nav']
    next(s for s in nav if 'API' in s)['API'] = ['api.md', *({k: v} for k, v in sections.items())]
    logging.basicConfig(level=logging.WARNING, format='%(levelname)s: %(message)s')
    mkdocs_build(load_config(str(config), nav=nav, docs_dir=str(src), site_dir=str(site), strict=True))
    shutil.rmtree(src)

def open_pages(site:Path, browser) -> list: # 'page: what is wrong'
    "Serve the site on this machine, and open every page at each width in Chromium."
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args): pass
    bad = []
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Quiet, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page, home = browser.new_page(), f'http://127.0.0.1:{server.server_port}/'
        page.route('**', lambda r: r.continue_() if urlsplit(r.request.url).hostname == '127.0.0.1' else r.abort())
        page.on('console', lambda m: bad.append(f'{page.url}: {m.text}') if m.type in ('error', 'warning') else None)
        page.on('pageerror', lambda e: bad.append(f'{page.url}: {e}'))
        for path in sorted(p for p in site.rglob('*.html') if p.name != '404.html'):
            page.set_viewport_size({'width': widths[0], 'height': 900})
            page.goto(home + path.relative_to(site).as_posix())
            for width in widths:
                page.set_viewport_size({'width': width, 'height': 900})
                page.wait_for_timeout(50)
                wide = page.evaluate('document.documentElement.scrollWidth')
                if wide > width: bad.append(f'{page.url}: {wide} pixels wide in a window of {width}')
        server.shutdown()
    return [b.removeprefix(home) for b in bad]

def main(args:list) -> int: # The exit code
    site, bad = root/'_docs', []
    chromium = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None)
    if '--open' not in args: build(site)
    if chromium:
        from playwright.sync_api import sync_playwright
        with sync_playwright() as p:
            bad = open_pages(site, p.chromium.launch(executable_path=chromium, args=['--no-sandbox']))
    print(*bad, f'{len(list(site.rglob("*.html")))} pages in _docs/, {len(bad)} problems when opened', sep='\n')
    return len(bad) > 0

if __name__ == '__main__': sys.exit(main(sys.argv[1:]))
