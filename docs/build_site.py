"""Build the docs site from the notebooks, and check its links.

With quarto on the path this runs `nbdev_docs`. Otherwise nbdev's own processing (`_proc/`) is turned into Markdown
pages that mkdocs-material renders, so that packages from PyPI are enough. Either way the site lands in `_docs/`,
and a link that leads nowhere inside it is an error.

    python docs/build_site.py            build and check
    python docs/build_site.py --check    check the site that is there
"""
import argparse, base64, logging, os, re, shutil, subprocess, sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat, yaml
from nbdev.config import get_config

root = Path(__file__).resolve().parent.parent
sections = {'.': 'Library', 'tutorials': 'Tutorials', 'experiments': 'Experiments'}


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
    def block(m): return '\n\n' + to_mathml(m[1].strip(), display='block') + '\n\n'
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


def output_md(
    out:dict, # One output of a code cell
    files:Path, # Folder for pictures
    stem:str, # Start of their names
) -> str:
    "One cell output as Markdown."
    if out.output_type == 'stream': return fence(out.text, 'text') if out.text.strip() else ''
    if out.output_type == 'error': return fence(f'{out.ename}: {out.evalue}', 'text')
    data = out.data
    if 'text/markdown' in data:
        md = data['text/markdown'].removeprefix('---\n').strip() # show_doc begins with a rule
        md = re.sub(r'^\[source\]\(.*$\n*', '', md, flags=re.M)
        return re.sub(r'^(###+) (.+)$', lambda m: f'{m[1]} {m[2]} {{#{m[2].strip().lower()} .api}}', md, count=1, flags=re.M)
    if 'text/html' in data:
        html = re.sub(r'<style scoped>.*?</style>', '', data['text/html'], flags=re.S)
        return '<div class="cell-output">' + re.sub(r'\n\s*\n+', '\n', html.strip()) + '</div>'
    for mime,ext in {'image/svg+xml':'svg', 'image/png':'png', 'image/jpeg':'jpg'}.items():
        if mime not in data: continue
        files.mkdir(parents=True, exist_ok=True)
        raw = data[mime].encode() if ext == 'svg' else base64.b64decode(data[mime])
        (files/f'{stem}.{ext}').write_bytes(raw)
        return f'![figure]({files.name}/{stem}.{ext})'
    return fence(data['text/plain'], 'text') if data.get('text/plain', '').strip() else ''


def cell_md(cell:dict, files:Path, i:int) -> str:
    "One cell of a processed notebook as Markdown."
    src = cell.get('source', '')
    if cell.cell_type == 'markdown': return '' if src.startswith('<!-- WARNING: THIS FILE') else math(src)
    if cell.cell_type != 'code': return ''
    said = dict(re.findall(r'^#\|\s*(\S+?):?(?:\s+(.*))?$', src, flags=re.M))
    src = re.sub(r'^#\|.*\n?', '', src, flags=re.M).strip()
    shown = [fence(src, 'python')] if src and said.get('echo') != 'false' else []
    if said.get('output') != 'false':
        shown += [output_md(o, files, f'{i}_{j}') for j,o in enumerate(cell.outputs)]
    return '\n\n'.join(s for s in shown if s)


def page_md(
    nb, # Processed notebook
    files:Path, # Folder for its pictures
) -> tuple: # title, Markdown
    "A processed notebook as one Markdown page, its title and description taken from the front matter."
    front, cells = {}, list(nb.cells)
    if cells and cells[0].cell_type == 'raw': front = yaml.safe_load(cells.pop(0).source.strip().strip('-')) or {}
    body = [md for i,c in enumerate(cells) if (md := cell_md(c, files, i))]
    title = front.get('title', files.stem)
    lead = [math(f'> {front["description"]}')] if front.get('description') else []
    return title, '\n\n'.join([f'# {title}'] + lead + body) + '\n'


def pages_from(
    proc:Path, # What nbdev wrote
    src:Path, # Where the Markdown goes
    base:str, # Address under which nbdev publishes the docs
) -> list: # nav of mkdocs
    "Write every processed notebook as a page."
    pages, anchors, nav = {}, {}, {'.': []}
    nbs = sorted(p for p in proc.rglob('*.ipynb') if not re.search(r'(^|/)[_.]', str(p.relative_to(proc))))
    nbs.sort(key=lambda p: (p.parent != proc, p.parent, p.name != 'index.ipynb'))
    for p in nbs:
        name = page_name(p.relative_to(proc))
        title, md = page_md(nbformat.read(p, 4), (src/name).with_name(Path(name).stem + '_files'))
        pages[name], anchors[name] = md, set(re.findall(r'\{#(\S+) \.api\}', md))
        nav.setdefault(str(Path(name).parent), []).append({title: name})
    for name,md in pages.items():
        (src/name).parent.mkdir(parents=True, exist_ok=True)
        (src/name).write_text(relink(md, name, base, anchors), encoding='utf-8')
    for p in proc.rglob('*'):
        if p.suffix in ('.png', '.svg', '.jpg', '.css') and not re.search(r'(^|/)[_.]', str(p.relative_to(proc))):
            (src/p.relative_to(proc)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(p, src/p.relative_to(proc))
    library = nav.pop('.')[1:]
    return [{'Home': 'index.md'}] + [{sections['.']: library}] + [{sections.get(k, k.title()): v} for k,v in sorted(nav.items(), reverse=True)]


def build_plain(cfg) -> None:
    "Build `_docs/` with mkdocs from what nbdev's processing writes."
    from mkdocs.commands.build import build
    from mkdocs.config import load_config
    from nbdev.doclinks import _build_modidx
    from nbdev.serve import proc_nbs
    _build_modidx()
    proc, src = Path(proc_nbs(str(cfg.nbs_path), n_workers=2, force=True)), root/'_proc_md'
    shutil.rmtree(src, ignore_errors=True)
    nav = pages_from(proc, src, cfg.doc_host + cfg.doc_baseurl)
    logging.basicConfig(level=logging.WARNING, format='%(levelname)s: %(message)s')
    site = load_config(str(root/'docs'/'mkdocs.yml'), site_name=cfg.title, site_description=cfg.description, nav=nav,
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


def broken_links(
    site:Path, # Folder of the built site
) -> list: # 'page: link' for each link inside the site that leads nowhere
    "Follow every link that stays inside the site, down to its anchor."
    pages = {p.resolve(): Page(p.read_text(encoding='utf-8')) for p in sorted(site.rglob('*.html'))}
    bad = []
    for path,page in pages.items():
        if path.name == '404.html': continue # its links start at the published address
        for link in sorted(page.links):
            url = urlsplit(link)
            if url.scheme or url.netloc: continue
            to = (path.parent/unquote(url.path)).resolve() if url.path else path
            if to.is_dir(): to = to/'index.html'
            lost = not to.exists() or (url.fragment and to in pages and unquote(url.fragment) not in pages[to].ids)
            if lost and not link.startswith('#__'): bad.append(f'{path.relative_to(site.resolve())}: {link}')
    return bad


def main() -> int:
    parser = argparse.ArgumentParser(description='Build the docs site from the notebooks, and check its links.')
    parser.add_argument('--check', action='store_true', help='only check the links of the site that is there')
    args = parser.parse_args()
    os.chdir(root)
    cfg = get_config()
    if not args.check:
        if shutil.which('quarto'): subprocess.run([Path(sys.executable).with_name('nbdev_docs')], check=True)
        else: build_plain(cfg)
    pages, bad = list(cfg.doc_path.rglob('*.html')), broken_links(cfg.doc_path)
    for b in bad: print('broken link:', b, file=sys.stderr)
    if not pages: print('no page was built', file=sys.stderr)
    else: print(f'{len(pages)} pages in {cfg.doc_path.name}/, {len(bad)} broken links')
    return 1 if bad or not pages else 0


if __name__ == '__main__': sys.exit(main())
