"The shape of the project: the order of imports, notebooks and library in step, names that the design promises."
import ast, filecmp, importlib, re, shutil, subprocess, sys
from configparser import ConfigParser
from pathlib import Path

import nbformat
import pytest

root = Path(__file__).resolve().parent.parent
floors = { # notebooks are numbered floor by floor; a module imports only those before it
    0: 'notes midi notated scores musicxml show', 1: 'vocab tokens grammar chordwise encoders sources corpus build data openscore',
    2: 'architectures models ngram generator pieces sampling', 3: 'metrics corruptions copying _ composer critic compare callbacks training',
    4: 'charts report quiz options jobs demo cli all'}
numbers = {name: 10*floor + i for floor, names in floors.items() for i, name in enumerate(names.split()) if name != '_'}
modules = list(numbers)
promised = {
    'notes': 'read_score write_midi transpose ScoreError', 'metrics': 'inception_score',
    'tokens': 'EncodingConfig Vocab NotewiseEncoder ChordwiseEncoder', 'data': 'TokenBlock lm_dataloaders classifier_dataloaders',
    'encoders': 'MidiTokEncoder miditok_encoder make_encoder', 'sources': 'corpora',
    'scores': 'read_score', 'musicxml': 'write_musicxml', 'build': 'build_corpus', 'chordwise': 'ChordwiseEncoder',
    'corpus': 'Corpus music21_corpus folder_corpus encode_file', 'models': 'ARCHS save_model load_model',
    'generator': 'generator_learner', 'sampling': 'Piece sample', 'composer': 'composer_learner',
    'critic': 'critic_learner best_of', 'callbacks': 'MusicalInceptionScore', 'compare': 'evaluate leaderboard'}
notebooks = sorted(p.relative_to(root).as_posix() for p in (root/'nbs').rglob('*.ipynb') if '.ipynb_checkpoints' not in p.parts)


def code_cells(
    path:str, # Notebook, from the root
) -> list: # (directives, source without them) of each code cell
    cells = [c.source for c in nbformat.read(root/path, 4).cells if c.cell_type == 'code']
    return [([s[1] for s in re.finditer(r'^#\|\s*(.+?)\s*$', c, flags=re.M)], c) for c in cells]


def project_files() -> list: # Every file of the project that is kept, built and installed things left out
    skip = {'.git', '.venv', 'out', '_proc', '_docs', 'build', 'dist', 'models', '__pycache__', '.ipynb_checkpoints',
            '.pytest_cache', '.hypothesis'}
    def kept(p): return not any(part in skip or part.startswith('.venv') or part.endswith('.egg-info')
                                for part in p.relative_to(root).parts)
    tops = [p for p in root.iterdir() if kept(p)]
    return [p for top in tops for p in ([top] if top.is_file() else top.rglob('*')) if p.is_file() and kept(p)]


def sibling_imports(
    source:str, # Text of a module of the library
) -> set: # Names of the modules of this library that it imports, at any depth
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            inside = (node.module or '').split('.') if node.level else (node.module or '').split('.')[1:]
            if not node.level and (node.module or '').split('.')[0] != 'musiclm': continue
            found |= {inside[0]} if inside and inside[0] else {a.name for a in node.names}
        elif isinstance(node, ast.Import):
            found |= {a.name.split('.')[1] for a in node.names if a.name.startswith('musiclm.')}
    return found


def run_nbdev(
    command:str, # nbdev_export or nbdev_clean
    cwd:Path, # A copy of the project
) -> None:
    "Run a command of nbdev beside this Python; version 3 spells it with a dash."
    places = [Path(sys.executable).with_name(c) for c in (command, command.replace('_', '-'))]
    res = subprocess.run([next(p for p in places if p.exists())], cwd=cwd, capture_output=True, text=True)
    assert res.returncode == 0, res.stderr


@pytest.fixture
def copy(tmp_path):
    "Notebooks and settings of the project, with a library that holds nothing yet."
    ignore = shutil.ignore_patterns('.ipynb_checkpoints', '__pycache__')
    shutil.copytree(root/'nbs', tmp_path/'nbs', ignore=ignore)
    for name in ('settings.ini', 'pyproject.toml'): shutil.copy(root/name, tmp_path)
    (tmp_path/'musiclm').mkdir()
    return tmp_path


def test_every_module_has_its_notebook_in_the_order_of_the_table():
    numbered = [n for n in notebooks if re.match(r'nbs/\d', n)]
    assert numbered == [f'nbs/{i:02d}_{m}.ipynb' for m, i in numbers.items()]
    assert sorted(p.stem for p in (root/'musiclm').glob('*.py') if p.stem[0] != '_') == sorted(modules)


@pytest.mark.parametrize('path', notebooks)
def test_a_notebook_exports_the_module_it_is_named_for(path):
    directives = [d for ds,_ in code_cells(path) for d in ds]
    name = re.match(r'nbs/\d+_(\w+)\.ipynb', path)
    if name: assert [d for d in directives if d.startswith('default_exp')] == [f'default_exp {name[1]}']
    else: assert not [d for d in directives if d.startswith(('default_exp', 'export'))]


@pytest.mark.parametrize('path', notebooks)
def test_a_notebook_is_an_essay_of_small_cells(path):
    first = nbformat.read(root/path, 4).cells[0]
    assert re.fullmatch(r'# .+\n+> .+', first.source.strip()), \
        'the first cell holds "# Title" and "> one line" and nothing else: nbdev drops more from the docs'
    long = [source.splitlines()[1] for ds,source in code_cells(path)
            if any(d.startswith('export') for d in ds) and len(source.splitlines()) >= 60]
    assert not long, f'exported cells of 60 lines or more: {long}'
    assert (root/path).stat().st_size < 200_000


@pytest.mark.parametrize('path', notebooks)
def test_a_cell_has_imports_or_other_code(path):
    def mixed(source):
        found = [isinstance(n, (ast.Import, ast.ImportFrom)) for n in ast.parse(source).body]
        return any(found) and not all(found)
    assert not [source for _,source in code_cells(path) if mixed(source)], 'the docs run cells with imports, and all that is in them'


@pytest.mark.parametrize('module', modules)
def test_a_module_imports_only_modules_above_it(module):
    found = sibling_imports((root/'musiclm'/f'{module}.py').read_text(encoding='utf-8')) & set(modules)
    assert found <= set(modules[:modules.index(module)]), f'{module} imports {found}'
    assert 'cli' not in found


def test_the_reader_of_imports_sees_every_form():
    source = 'import musiclm.notes\nfrom .tokens import Vocab\ndef f():\n    from musiclm.data import g\n    from . import models\nimport numpy.ma'
    assert sibling_imports(source) == {'notes', 'tokens', 'data', 'models'}


def test_export_leaves_no_difference(copy):
    run_nbdev('nbdev_export', copy)
    def sources(where): return {p.relative_to(where).as_posix() for p in (where/'musiclm').rglob('*.py')
                                if p.stem not in ('_modidx', '__init__')} # those two differ between nbdev 2 and 3
    assert sources(copy) == sources(root)
    _, differ, errors = filecmp.cmpfiles(copy, root, sorted(sources(root)), shallow=False)
    assert not differ + errors, 'edit the notebooks, not these files, and run nbdev_export'


def test_clean_leaves_no_difference(copy):
    run_nbdev('nbdev_clean', copy)
    _, differ, errors = filecmp.cmpfiles(copy, root, notebooks, shallow=False)
    assert not differ + errors, 'run nbdev_clean'


def test_no_file_names_a_place_of_one_machine():
    place = re.compile(r'(?<![\w.~+/-])/(?:work|root|home)/\w|\.\./share[d]')
    found = []
    for p in project_files():
        try: text = p.read_text(encoding='utf-8')
        except UnicodeDecodeError: continue # a picture, a score
        found += [f'{p.relative_to(root)}: {m[0]}' for m in place.finditer(text)]
    assert not found


@pytest.mark.parametrize('module,name', [(m, n) for m,names in promised.items() for n in names.split()])
def test_promised_names_are_there(module, name):
    assert hasattr(importlib.import_module(f'musiclm.{module}'), name)


def test_every_requirement_is_pinned():
    cfg = ConfigParser(delimiters=['='])
    cfg.read(root/'settings.ini', encoding='utf-8')
    def names(text): return {re.match(r'[\w-]+', r)[0].lower().replace('_', '-') for r in text.split()}
    lines = [l for l in (root/'constraints.txt').read_text().splitlines() if l and not l.startswith('#')]
    assert all(re.match(r'[a-z0-9-]+==\S+( ; .+)?$', l) for l in lines)
    wanted = set().union(*(names(v) for k,v in cfg['DEFAULT'].items() if k.endswith('requirements')))
    assert wanted <= {l.split('==')[0] for l in lines}


def test_the_public_names_are_those_of_the_list():
    lines = [l.partition(':') for l in (root/'tests'/'public_names.txt').read_text().splitlines() if not l.startswith('#')]
    listed = {m: sorted(names.split()) for m,_,names in lines if m != 'all'}
    found = {m: sorted(importlib.import_module(f'musiclm.{m}').__all__) for m in modules if m != 'all'}
    assert found == listed
    assert sum(map(len, found.values())) <= 160 and len(importlib.import_module('musiclm.all').__all__) <= 60


@pytest.mark.parametrize('module', [m for m in modules if m != 'all'])
def test_public_names_document_themselves(module):
    source = (root/'musiclm'/f'{module}.py').read_text(encoding='utf-8')
    lines, missing, public = source.splitlines(), [], importlib.import_module(f'musiclm.{module}').__all__
    for node in ast.parse(source).body:
        if not isinstance(node, (ast.FunctionDef, ast.ClassDef)) or node.name not in public: continue
        if not ast.get_docstring(node): missing.append(f'{node.name}: no docstring')
        inits = [f for f in node.body if isinstance(f, ast.FunctionDef) and f.name == '__init__']
        for f in [node] if isinstance(node, ast.FunctionDef) else inits:
            a = f.args
            args = [*a.posonlyargs, *a.args, *a.kwonlyargs, *filter(None, [a.vararg, a.kwarg])]
            missing += [f'{node.name}: no docment for {x.arg}' for x in args
                        if x.arg not in ('self', 'cls') and '# ' not in lines[x.end_lineno - 1]]
    assert not missing


@pytest.mark.parametrize('module', modules)
def test_a_module_is_read_in_an_evening(module):
    lines = (root/'musiclm'/f'{module}.py').read_text(encoding='utf-8').splitlines()
    assert len(lines) <= 600
    long = [l for l in lines if len(l) > 120 and not l.startswith('__all__')] # nbdev wraps that line
    assert not long


def test_readme_is_a_landing_page():
    assert len((root/'README.md').read_text(encoding='utf-8').splitlines()) <= 120


def test_the_version_is_that_of_the_settings():
    cfg = ConfigParser(delimiters=['='])
    cfg.read(root/'settings.ini', encoding='utf-8')
    assert importlib.import_module('musiclm').__version__ == cfg['DEFAULT']['version']
