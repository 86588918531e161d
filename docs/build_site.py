"""Build the docs site from the notebooks, and check its links.

nbdev processes the notebooks into `_proc/`, and this adds a page of all public names and the navigation (`docs/nav.yml`).
With quarto on the path quarto renders that folder. Otherwise it is turned into Markdown that mkdocs-material renders, so
that packages from PyPI are enough. Either way the site lands in `_docs/`. A public name that no page documents, a link
that leads nowhere inside the site, and, where Chromium is, a page with a message on the console or wider than the window
are errors.

    python docs/build_site.py            build, check the links, and open the pages if Chromium is there
    python docs/build_site.py --check    check the links of the site that is there
    python docs/build_site.py --open     open the pages of the site that is there
"""
import argparse, ast, base64, functools, http.server, logging, os, re, shutil, subprocess, sys, threading
from fnmatch import fnmatch
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat, yaml
from nbdev.config import get_config

root = Path(__file__).resolve().parent.parent
widths = 1400, 400 # of the windows that pages are opened in
listening = {'data/results/leaderboard.html': 'experiments/leaderboard_pieces.html'} # pages that the library made, as they are


def outside_code(
    text:str, # Markdown
    change, # str -> str, applied to what is not code
) -> str: # Markdown with code fences and `code spans` left as they are
    "Apply `change` to the parts of a Markdown text that are not code."
    parts = re.split(r'(^```.*?^```|`[^`\n]+`)', text, flags=re.M|re.S)
    return ''.join(p if i%2 else change(p) for i,p in enumerate(parts))


def math(text:str) -> str:
    "Replace `$…$` and `$$…$$` by MathML, which browsers render without any script."
    from latex2mathml.converter import convert as to_mathml
    def block(m): return '\n\n<div class="equation">' + to_mathml(m[1].strip(), display='block') + '</div>\n\n'
    def inline(m): return to_mathml(m[1])
    def both(s): return re.sub(r'(?<![\\$\w])\$(?!\s)([^$\n]+?)(?<!\s)\$(?![\w$])', inline,
                               re.sub(r'\$\$(.+?)\$\$', block, s, flags=re.S))
    return outside_code(text, both)


def page_name(
    path:str, # 'tutorials/01_quickstart.ipynb', 'notes.html'
) -> str: # 'tutorials/quickstart.md', 'notes.md'
    "The page that a notebook, or a link to its html, becomes: nbdev drops the number."
    p = Path(path)
    return str(p.with_name(re.sub(r'^\d+[a-zA-Z0-9]*_', '', p.stem) + '.md'))


def relink(
    text:str, # Markdown
    page:str, # The page it stands on, as 'tutorials/quickstart.md'
    base:str, # Address under which nbdev publishes the docs
    anchors:dict, # page -> names documented on it
) -> str:
    "Point links at notebooks, and at the published docs, to the pages of this site."
    def target(m):
        url = urlsplit(m[1])
        if m[1].startswith(base):
            to, name = page_name(m[1][len(base):].lstrip('/').split('#')[0]), url.fragment
            while name and name not in anchors.get(to, ()): name = name.rpartition('.')[0] # a method stands with its class
            return '](' + os.path.relpath(to, Path(page).parent) + ('#'+name if name else '') + ')'
        if url.scheme or not url.path.endswith(('.ipynb', '.html')): return m[0]
        return f']({page_name(url.path)}' + ('#'+url.fragment if url.fragment else '') + ')'
    return re.sub(r'\]\(([^)\s]+)\)', target, text)


def fence(text:str, lang:str='') -> str:
    ticks = '`' * max(3, 1+max((len(t) for t in re.findall('`+', text)), default=0))
    return f'{ticks}{lang}\n{text.rstrip()}\n{ticks}'


def said_md(text:str) -> str:
    "What a cell printed: long lines wrap, tables scroll."
    wrap = ' .wrap' if max(map(len, text.splitlines()), default=0) > 150 else ''
    return fence(text, f'{{ .text .said{wrap} }}') if text.strip() else ''


def output_md(
    out:dict, # One output of a code cell
    files:Path, # Folder for pictures
    stem:str, # Start of their names
) -> str:
    "One cell output as Markdown."
    if out.output_type == 'stream': return said_md(out.text)
    if out.output_type == 'error': return said_md(f'{out.ename}: {out.evalue}')
    data = out.data
    if 'text/markdown' in data and 'text/html' not in data: # what has both holds HTML in either
        md = data['text/markdown'].removeprefix('---\n').strip() # show_doc begins with a rule
        md = re.sub(r'^\[source\]\(.*$\n*', '', md, flags=re.M)
        return re.sub(r'^(###+) (.+)$', lambda m: f'{m[1]} {m[2]} {{#{m[2].strip().lower()} .api}}', md, count=1, flags=re.M)
    if 'text/html' in data:
        html = re.sub(r'<style scoped>.*?</style>', '', data['text/html'], flags=re.S)
        if not re.sub(r'<style.*?</style>', '', html, flags=re.S).strip(): return '' # of a progress bar that has gone
        return '<div class="cell-output">' + re.sub(r'\n\s*\n+', '\n', html.strip()) + '</div>'
    for mime,ext in {'image/svg+xml':'svg', 'image/png':'png', 'image/jpeg':'jpg'}.items():
        if mime not in data: continue
        files.mkdir(parents=True, exist_ok=True)
        raw = data[mime].encode() if ext == 'svg' else base64.b64decode(data[mime])
        (files/f'{stem}.{ext}').write_bytes(raw)
        return f'<div class="figure" markdown="1">\n![figure]({files.name}/{stem}.{ext})\n</div>'
    return said_md(data.get('text/plain', ''))


def joined(outputs) -> list:
    "Outputs, with what was printed bit by bit in one."
    found = []
    for o in outputs:
        if found and o.output_type == found[-1].output_type == 'stream' and o.name == found[-1].name:
            found[-1] = nbformat.v4.new_output('stream', name=o.name, text=found[-1].text + o.text)
        else: found.append(o)
    return found


def cell_md(cell:dict, files:Path, i:int, fold:bool=False) -> str:
    "One cell of a processed notebook as Markdown; `fold` hides its code behind a click."
    src = cell.get('source', '')
    if cell.cell_type == 'markdown': return '' if src.startswith('<!-- WARNING: THIS FILE') else math(src)
    if cell.cell_type != 'code': return ''
    said = dict(re.findall(r'^#\|\s*(\S+?):?(?:\s+(.*))?$', src, flags=re.M))
    src = re.sub(r'^#\|.*\n?', '', src, flags=re.M).strip()
    shown = [fence(src, 'python')] if src and said.get('echo') != 'false' else []
    if shown and fold: shown = ['<details class="code" markdown="1"><summary>Code</summary>\n\n' + shown[0] + '\n\n</details>']
    if said.get('output') != 'false':
        shown += [output_md(o, files, f'{i}_{j}') for j,o in enumerate(joined(cell.outputs))]
    return '\n\n'.join(s for s in shown if s)


def page_md(
    nb, # Processed notebook
    files:Path, # Folder for its pictures
    fold:bool=False, # Hide code behind a click?
) -> tuple: # title, Markdown
    "A processed notebook as one Markdown page, its title and description taken from the front matter."
    front = front_matter(nb)
    body = [md for i,c in enumerate(nb.cells) if (md := cell_md(c, files, i, fold))]
    title = front.get('title', files.stem)
    lead = [math(f'> {front["description"]}')] if front.get('description') else []
    return title, '\n\n'.join([f'# {title}'] + lead + body) + '\n'


def notebooks(
    proc:Path, # What nbdev wrote
) -> dict: # 'tutorials/quickstart' -> its notebook, in the order of the files
    "The notebooks that become pages."
    found = sorted(p for p in proc.rglob('*.ipynb') if not re.search(r'(^|/)[_.]', p.relative_to(proc).as_posix()))
    return {page_name(p.relative_to(proc).as_posix())[:-3]: p for p in found}


def navigation(
    sections:dict, # Section -> names or patterns, as in docs/nav.yml
    names, # Names of pages, as 'tutorials/quickstart'
) -> dict: # Section -> names of the pages that are there
    "Each page in one section: where it is named, else where the first pattern takes it."
    named = {n for wanted in sections.values() for n in wanted}
    free, nav = [n for n in names if n not in named], {}
    def taken(pattern):
        got = [n for n in free if n.count('/') == pattern.count('/') and fnmatch(n, pattern)]
        free[:] = [n for n in free if n not in got]
        return got
    for section, wanted in sections.items():
        found = [n for w in wanted for n in ([w] if w in names else taken(w) if '*' in w else [])]
        if found: nav[section] = found
    if free: raise ValueError(f'docs/nav.yml gives no section to {", ".join(free)}')
    return nav


def as_tree(
    nav:dict, # Section -> pages
    page, # name -> what stands for the page
    section, # title, pages -> what stands for the section
) -> list:
    "The navigation as one of the builders wants it; a section of one page is that page."
    return [page(names[0], title) if len(names) == 1 else section(title, [page(n) for n in names])
            for title, names in nav.items()]


def mkdocs_nav(nav:dict, titles:dict) -> list:
    return as_tree(nav, lambda n,title=None: {title or titles[n]: n + '.md'}, lambda title,pages: {title: pages})


def quarto_sidebar(nav:dict, files:dict, titles:dict) -> dict:
    contents = as_tree(nav, lambda n,title=None: {'text': title or titles[n], 'href': files[n]},
                       lambda title,pages: {'section': title, 'contents': pages})
    return {'website': {'sidebar': {'contents': contents}}}


def front_matter(nb) -> dict:
    "Title and description, from the raw cell that nbdev puts first."
    raw = nb.cells[0].source.strip().strip('-') if nb.cells and nb.cells[0].cell_type == 'raw' else ''
    return yaml.safe_load(raw) or {}


def documented(nb) -> dict: # name -> anchor
    "The names that a processed notebook documents, with their places."
    texts = [o.get('data', {}).get('text/markdown', '') for c in nb.cells for o in c.get('outputs', [])]
    texts += [c.source for c in nb.cells if c.cell_type == 'markdown']
    found = [m for t in texts for m in re.finditer(r'^###+ ([A-Za-z_][\w.]*)(?: \{#\S+ \.api\})?$', t, flags=re.M)]
    return {m[1]: m[1].lower() for m in found}


def definitions(
    path:Path, # Module of the library
) -> dict: # Name -> its place (ast node), names of the module `__all__` -> list
    "What a module defines at its top."
    found = {}
    for node in ast.parse(path.read_text(encoding='utf-8')).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)): found[node.name] = node
        if isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for t in (e for t in targets for e in (t.elts if isinstance(t, ast.Tuple) else [t])):
                if isinstance(t, ast.Name): found.setdefault(t.id, node)
    return found


def imported(path:Path) -> dict: # name -> module of the library
    "Where the names that a module passes on come from."
    nodes = [n for n in ast.parse(path.read_text(encoding='utf-8')).body if isinstance(n, ast.ImportFrom)]
    return {a.name: (n.module or '').rpartition('.')[2] for n in nodes for a in n.names}


def public_names(defined:dict) -> list:
    return ast.literal_eval(defined['__all__'].value) if '__all__' in defined else []


def constant_md(name:str, source:str, lines:int=12) -> str:
    "A constant with its definition, cut where it is long."
    shown = source.splitlines()
    shown = shown[:lines] + ['...'] if len(shown) > lines else shown
    return f'### {name} {{#{name.lower()} .api}}\n\n' + fence('\n'.join(shown), 'python')


def add_constants(
    nb, # Processed notebook, changed in place
    source, # The notebook it was made from
    names:dict, # constant -> its definition
) -> None:
    "nbdev drops the cells of constants: say each behind the prose that it followed."
    seen, after, at = set(), -1, {}
    for c in source.cells:
        if c.cell_type == 'markdown' and not re.fullmatch(r'#+\s.*\s-', c.source.strip()): after += 1
        if c.cell_type != 'code': continue
        for name in names:
            if name in seen or not re.search(rf'^(\w+\s*,\s*)*{name}\b\s*(,|=[^=]|:)', c.source, flags=re.M): continue
            seen.add(name)
            at.setdefault(after, []).append(constant_md(name, names[name]))
    prose = [c for c in nb.cells if c.cell_type == 'markdown' and not c.source.startswith('<!-- WARNING')]
    for k, texts in at.items():
        cell = nbformat.v4.new_markdown_cell('\n\n'.join(texts), metadata={})
        nb.cells.insert(nb.cells.index(prose[k-1]) + 1 if k > 0 else 2, cell)


def unlink_code(nb) -> None:
    "nbdev links names inside of signatures, where a link is no link: take it out."
    for out in (o for c in nb.cells for o in c.get('outputs', []) if 'text/markdown' in o.get('data', {})):
        out.data['text/markdown'] = re.sub(r'^```.*?^```', lambda m: re.sub(r'\[(`[^`\n]+`)\]\(\S+?\)', r'\1', m[0]),
                                           out.data['text/markdown'], flags=re.M|re.S)


def first_line(node, source:str) -> str:
    "What a definition says of itself: its docstring, the comment behind it, or how it begins."
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)): return (ast.get_docstring(node) or '').split('\n')[0]
    line = source.splitlines()[node.lineno - 1]
    comment = re.search(r'\s#\s(.+)$', line)
    shown = line.split('|')[0][:60] # a table can't hold what `|` parts
    return comment[1] if comment else f'`{shown}{"…" if shown != line else ""}`'


def api_md(
    modules:dict, # module -> path
    places:dict, # module -> {name: anchor} of its page
) -> tuple: # Markdown, names of `__all__` that have no place
    "Every public name of every module, with its line and a link to its place."
    lines, lost, defined = [], [], {m: definitions(p) for m,p in modules.items()}
    for module, path in modules.items():
        home, rows = imported(path), []
        for name in sorted(public_names(defined[module]), key=str.lower):
            where = module if name in defined[module] else home.get(name)
            if name not in places.get(where, {}): lost.append(f'{module}.{name}'); continue
            said = first_line(defined[where][name], modules[where].read_text(encoding='utf-8')).replace('|', '\\|')
            rows.append(f'| [`{name}`]({where}.html#{places[where][name]}) | {said} |')
        if rows: lines += [f'## [{module}]({module}.html)', '\n'.join(['| name | what it is |', '|---|---|'] + rows)]
    return '\n\n'.join(lines), lost


def enrich(
    proc:Path, # What nbdev wrote, changed in place
    nbs:Path, # The notebooks it was made from
    lib:Path, # The library exported from them
) -> None:
    "Add to the processed notebooks what nbdev leaves out: constants, and the page of all names."
    pages, modules, places = notebooks(proc), {}, {}
    for name, p in pages.items():
        nb, path = nbformat.read(p, 4), lib/f'{name}.py'
        unlink_code(nb)
        if path.exists():
            text, found = path.read_text(encoding='utf-8'), definitions(path)
            missing = {n: ast.get_source_segment(text, found[n]) for n in public_names(found)
                       if n in found and n not in documented(nb)}
            add_constants(nb, nbformat.read(nbs/p.relative_to(proc), 4), missing)
            modules[name], places[name] = path, documented(nb)
        nbformat.write(nb, p)
    md, lost = api_md(modules, places)
    if lost: raise ValueError(f'public names that no page documents: {", ".join(lost)}')
    front = '---\ntitle: All names\ndescription: Every public name of every module, and where it is explained.\noutput-file: api.html\n---\n'
    cells = [nbformat.v4.new_raw_cell(front), nbformat.v4.new_markdown_cell(md)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), proc/'api.ipynb')


def pages_from(
    proc:Path, # What nbdev wrote, enriched
    src:Path, # Where the Markdown goes
    base:str, # Address under which nbdev publishes the docs
) -> dict: # name -> title
    "Write every processed notebook as a page."
    pages, anchors, titles = {}, {}, {}
    for name, p in notebooks(proc).items():
        page = name + '.md'
        titles[name], md = page_md(nbformat.read(p, 4), (src/page).with_name(Path(name).name + '_files'),
                                   fold=name.startswith('experiments/'))
        pages[page], anchors[page] = md, set(re.findall(r'\{#(\S+) \.api\}', md))
    for name, md in pages.items():
        (src/name).parent.mkdir(parents=True, exist_ok=True)
        (src/name).write_text(relink(md, name, base, anchors), encoding='utf-8')
    for p in proc.rglob('*'):
        if p.suffix in ('.png', '.svg', '.jpg', '.css') and not re.search(r'(^|/)[_.]', p.relative_to(proc).as_posix()):
            (src/p.relative_to(proc)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(p, src/p.relative_to(proc))
    return titles


def process(cfg) -> Path: # The folder of processed notebooks
    "What both builders begin with: nbdev's processing, and what it leaves out."
    from nbdev.doclinks import _build_modidx
    from nbdev.serve import proc_nbs
    os.environ['PYTHONWARNINGS'] = 'ignore:Found cells containing imports' # of nbdev's workers; nothing is hidden by it here
    _build_modidx()
    proc = Path(proc_nbs(str(cfg.nbs_path), n_workers=2, force=True))
    enrich(proc, cfg.nbs_path, cfg.lib_path)
    return proc


def build_quarto(cfg, proc:Path, sections:dict) -> None:
    "Build `_docs/` with quarto, which is not to run any code."
    files = notebooks(proc)
    titles = {n: front_matter(nbformat.read(p, 4)).get('title', n) for n,p in files.items()}
    sidebar = quarto_sidebar(navigation(sections, list(files)), {n: p.relative_to(proc).as_posix() for n,p in files.items()}, titles)
    (proc/'sidebar.yml').write_text(yaml.safe_dump(sidebar, sort_keys=False, allow_unicode=True), encoding='utf-8')
    subprocess.run(['quarto', 'render', '--no-cache', '--no-execute'], cwd=proc, check=True)
    shutil.rmtree(cfg.doc_path, ignore_errors=True)
    shutil.move(proc/cfg.doc_path.name, cfg.doc_path)


def build_plain(cfg, proc:Path, sections:dict) -> None:
    "Build `_docs/` with mkdocs."
    from mkdocs.commands.build import build
    from mkdocs.config import load_config
    src = root/'_proc_md'
    shutil.rmtree(src, ignore_errors=True)
    titles = pages_from(proc, src, cfg.doc_host + cfg.doc_baseurl)
    logging.basicConfig(level=logging.WARNING, format='%(levelname)s: %(message)s')
    site = load_config(str(root/'docs'/'mkdocs.yml'), site_name=cfg.title, site_description=cfg.description,
                       site_url=cfg.doc_host + cfg.doc_baseurl + '/',
                       nav=mkdocs_nav(navigation(sections, list(titles)), titles),
                       docs_dir=str(src), site_dir=str(cfg.doc_path), strict=True)
    build(site)
    shutil.rmtree(src)


class Page(HTMLParser):
    "The links and the anchors of one page."
    def __init__(self, text:str):
        super().__init__()
        self.links, self.ids = set(), set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.ids |= {attrs[k] for k in ('id', 'name') if attrs.get(k)}
        self.links |= {attrs[k] for k in ('href', 'src') if attrs.get(k)}


def local(
    link:str, # As it stands on a page
    home:str='', # Address under which the site is published
    code:str='', # … and under which the files of the repository are shown
) -> tuple: # 'site', 'repo' or 'out', and the path with its fragment
    "Where a link leads: the published address of the site, or of a file of the repository, is here too."
    if home and (link == home or link.startswith((home + '/', home + '#'))): return 'site', link[len(home):].lstrip('/') or 'index.html'
    if code and link.startswith(code + '/'): return 'repo', link[len(code) + 1:]
    url = urlsplit(link)
    return ('out', '') if url.scheme or url.netloc else ('page', link)


def broken_links(
    site:Path, # Folder of the built site
    home:str='', # Address under which it is published
    code:str='', # Address under which the files of the repository are shown
) -> list: # 'page: link' for each link inside the site that leads nowhere
    "Follow every link that stays inside the site or the repository, down to its anchor."
    site = site.resolve()
    pages = {p: Page(p.read_text(encoding='utf-8')) for p in sorted(site.rglob('*.html'))}
    start, bad = urlsplit(home).path, []
    for path,page in pages.items():
        for link in sorted(page.links):
            kind, to = local(link, home, code)
            if kind == 'out': continue
            if kind == 'page' and path.name == '404.html' and start and to.startswith(start + '/'):
                kind, to = 'site', to[len(start) + 1:] # that page is served from anywhere
            url = urlsplit(to)
            folder = {'site': site, 'repo': root, 'page': path.parent}[kind]
            end = (folder/unquote(url.path)).resolve() if url.path or kind != 'page' else path
            if end.is_dir() and kind != 'repo': end = end/'index.html'
            lost = not end.exists() or (url.fragment and end in pages and unquote(url.fragment) not in pages[end].ids)
            if lost and not link.startswith('#__'): bad.append(f'{path.relative_to(site)}: {link}')
    return bad


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args): pass


def chromium() -> str: # Path, or '' where there is none
    "The browser that pages are opened in."
    try: import playwright.sync_api # noqa: F401
    except ImportError: return ''
    return next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), '')


def look_at(page, address:str) -> list: # What is wrong
    "Open one address at every width."
    said = []
    def console(m):
        if m.type in ('error', 'warning'): said.append(m.text)
    def error(e): said.append(str(e))
    page.on('console', console); page.on('pageerror', error)
    page.set_viewport_size({'width': widths[0], 'height': 900})
    page.goto(address)
    for width in widths:
        page.set_viewport_size({'width': width, 'height': 900})
        page.wait_for_timeout(50)
        wide = page.evaluate('document.documentElement.scrollWidth')
        if wide > width: said.append(f'{wide} pixels wide in a window of {width}')
    page.remove_listener('console', console); page.remove_listener('pageerror', error)
    return said


def open_pages(
    site:Path, # Folder of the built site
    browser, # Of playwright
) -> list: # 'page: what is wrong'
    "Serve the site on this machine, and open every page."
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Quiet, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page, bad = browser.new_page(), []
        page.route('**', lambda r: r.continue_() if urlsplit(r.request.url).hostname == '127.0.0.1' else r.abort())
        for p in sorted(site.rglob('*.html')):
            name = p.relative_to(site).as_posix()
            if name == '404.html': continue
            bad += [f'{name}: {s}' for s in look_at(page, f'http://127.0.0.1:{server.server_port}/{name}')]
        page.close()
        server.shutdown()
    return bad


def open_site(site:Path) -> list:
    "Start Chromium, and open every page."
    from playwright.sync_api import sync_playwright
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=chromium(), args=['--no-sandbox'])
        try: return open_pages(site, browser)
        finally: browser.close()


def main() -> int:
    parser = argparse.ArgumentParser(description='Build the docs site from the notebooks, and check it.')
    parser.add_argument('--check', action='store_true', help='only check the links of the site that is there')
    parser.add_argument('--open', action='store_true', help='only open the pages of the site that is there in Chromium')
    args = parser.parse_args()
    os.chdir(root)
    cfg, build = get_config(), not (args.check or args.open)
    if build:
        sections = yaml.safe_load((root/'docs'/'nav.yml').read_text(encoding='utf-8'))
        (build_quarto if shutil.which('quarto') else build_plain)(cfg, process(cfg), sections)
        for page, to in listening.items(): shutil.copy(root/page, cfg.doc_path/to)
    pages, bad = list(cfg.doc_path.rglob('*.html')), []
    if not pages: print('no page was built', file=sys.stderr); return 1
    if build or args.check:
        broken = broken_links(cfg.doc_path, cfg.doc_host + cfg.doc_baseurl, f'{cfg.git_url}/blob/{cfg.branch}')
        print(f'{len(pages)} pages in {cfg.doc_path.name}/, {len(broken)} broken links')
        bad += [f'broken link: {b}' for b in broken]
    if args.open and not chromium(): print('--open needs playwright and Chromium', file=sys.stderr); return 1
    if args.open or (build and chromium()):
        wrong = open_site(cfg.doc_path)
        print(f'pages opened at {" and ".join(map(str, widths))} pixels, {len(wrong)} things wrong')
        bad += wrong
    elif build: print('pages not opened: playwright or Chromium is missing')
    for b in bad: print(b, file=sys.stderr)
    if build: print(f'open {cfg.doc_path.name}/index.html; to search, too: python -m http.server --directory {cfg.doc_path.name}')
    return 1 if bad else 0


if __name__ == '__main__': sys.exit(main())
