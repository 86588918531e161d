"OpenScore: the manifests, folders of the user's, and fetching from a server that is well, ill, or not there."
import errno
import os
import re
import shutil
import subprocess
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import pandas as pd
import pytest

from musiclm import openscore
from musiclm.jobs import describe_build
from musiclm.cli import main
from musiclm.corpus import Corpus, toy_corpus
from musiclm.musicxml import write_musicxml
from musiclm.openscore import REPOSITORIES, find_scores, git_hash, openscore_corpus
from musiclm.sources import SPLITS, music21_manifest, read_manifest

SONGS, QUARTETS = read_manifest('openscore:lieder'), read_manifest('openscore:quartets')
COMMIT = REPOSITORIES['lieder'][1]


# ---- the manifests

@pytest.mark.parametrize('name,table,pieces', [('lieder', SONGS, 1442), ('quartets', QUARTETS, 122)])
def test_manifests_hold_facts(name, table, pieces):
    assert len(table) == pieces and table.piece.is_unique and table.piece.tolist() == sorted(table.piece)
    file = table.piece.str.split('/').str[-1]
    assert file.str.fullmatch({'lieder': r'lc\d+\.mxl', 'quartets': r'sq\d+\.mxl'}[name]).all() and file.is_unique
    assert table.piece.str.count('/').eq({'lieder': 4, 'quartets': 3}[name]).all() and table.piece.str.startswith('scores/').all()
    assert table.blob.str.fullmatch('[0-9a-f]{40}|').all() and table.blob[table.blob != ''].is_unique
    assert table.title.str.strip().str.len().min() > 0 and not table[['title', 'composer', 'work']].map(lambda t: '_' in t).any(axis=None)
    assert (table.licence == 'CC0-1.0').all() and not table.reserved.any()
    years = table[table.born != '']
    assert (years.died.astype(int) - years.born.astype(int)).between(20, 101).all() and len(years) > .98*len(table)


@pytest.mark.parametrize('table', [SONGS, QUARTETS])
def test_no_work_is_cut_and_what_was_not_at_hand_is_test(table):
    assert table.split.isin(SPLITS).all() and (table.groupby('work').split.nunique() == 1).all()
    assert (table.split[table.blob == ''] == 'test').all() and (table.blob == '').sum() in (168, 19)
    works = table.groupby('composer').work.nunique()
    spread = table.groupby('composer').split.agg(set)[works >= 4]
    assert (spread.map(len) == 3).all() and len(spread) > 4
    assert table.groupby('split').size()['train'] > .55*len(table)


def test_a_set_of_songs_is_one_work():
    place = SONGS.piece.str.split('/').str[1:3]
    sets = SONGS[place.str[1] != '_'].groupby(place.str.join('/')).work.nunique()
    assert (sets == 1).all() and len(sets) > 200
    assert SONGS[SONGS.work == 'Schubert, Franz/Winterreise, D.911'].shape[0] == 24
    same = SONGS[SONGS.piece.str.contains('lc6652350|lc6654137')] # a song in two languages, in a set and out of it
    assert len(same) == 2 and same.work.nunique() == 1


def test_composers_are_the_same_in_both():
    both = set(SONGS.composer) & set(QUARTETS.composer)
    assert {'Schubert, Franz', 'Hensel, Fanny', 'Beach, Amy', 'Schumann, Robert', 'Wolf, Hugo'} <= both and len(both) >= 18
    years = pd.concat([SONGS, QUARTETS]).groupby('composer')[['born', 'died']].nunique()
    assert (years == 1).all(axis=None)


def test_songs_play_by_names_quartets_by_the_first_violin():
    assert set(SONGS.part_map) == {'', 'order'} and set(QUARTETS.part_map) == {'top'}
    with pytest.raises(ValueError, match='openscore:lieder is not inside music21'): music21_manifest('openscore:lieder')


def test_git_names_the_same_content_the_same(tmp_path, build):
    assert git_hash(b'') == 'e69de29bb2d1d6434b8b29ae775ad8c2e48c5391'
    if not shutil.which('git'): pytest.skip('git is not installed')
    (tmp_path/'a').write_bytes(b'x\r\n\0'*99)
    said = subprocess.run(['git', 'hash-object', '--no-filters', 'a'], cwd=tmp_path, capture_output=True, text=True).stdout
    assert said.strip() == git_hash((tmp_path/'a').read_bytes())


# ---- eight made-up songs instead of the real ones

@pytest.fixture(scope='module')
def scores(tmp_path_factory):
    "A folder like a clone's."
    folder, toy = tmp_path_factory.mktemp('clone'), toy_corpus(8, beats=16, seed=5)
    for k in range(8): write_musicxml(toy.notes(k), folder/'scores'/f'Müller,_Änne/Op.{k//2}/{k}_Lied’/lc{k}.mxl')
    return folder


@pytest.fixture
def songs(scores, tmp_path, monkeypatch):
    "Their manifest takes the place of the real one; the hash of the last is not known."
    files = sorted((scores/'scores').rglob('*.mxl'))
    table = pd.DataFrame(dict(
        piece=[f.relative_to(scores).as_posix() for f in files], title='Lied', composer='Müller, Änne', licence='CC0-1.0',
        work=[f.parts[-3] for f in files], split=[('train', 'train', 'valid', 'test')[k//2] for k in range(8)], reserved=False,
        part_map='', born='1800', died='1880', blob=[git_hash(f.read_bytes()) for f in files[:-1]] + ['']))
    monkeypatch.setattr(openscore, 'read_manifest', lambda name: table.copy())
    monkeypatch.setattr(openscore, 'default_cache', lambda: tmp_path/'cache'/'notes')
    return table


@pytest.fixture
def build(scores, songs):
    "Build the corpus; a score is read once for all tests."
    return lambda path=None, **more: openscore_corpus('lieder', path, workers=1, cache=scores.parent/'read', progress=False, **more)


@pytest.mark.parametrize('inside', ['', 'scores', '..'])
def test_a_clone_or_part_of_it_or_what_holds_it(songs, scores, tmp_path, inside, build):
    if inside == '..': scores = shutil.copytree(scores, tmp_path/'outer'/'Lieder-main').parent
    corpus = build(scores/inside if inside == 'scores' else scores, out=tmp_path/'store')
    assert corpus.manifest.piece.tolist() == songs.piece.tolist() and corpus.errors.empty
    assert corpus.manifest.split.tolist() == songs.split.tolist() and corpus.sources == ('openscore:lieder',)
    assert {'title', 'born', 'died'} <= set(corpus.manifest) and not {'blob', 'path'} & set(corpus.manifest)
    assert Corpus.load(tmp_path/'store').manifest.composer.unique().tolist() == ['Müller, Änne']


def test_a_clone_of_another_commit_is_named_and_left_out(songs, scores, tmp_path, build):
    clone = shutil.copytree(scores, tmp_path/'clone')
    write_musicxml(toy_corpus(1, beats=12, seed=9).notes(0), clone/songs.piece[0])
    (clone/songs.piece[1]).unlink()
    (clone/songs.piece[7]).write_bytes(b'version https://git-lfs')
    for name in ('lc99.mxl', 'sq5.mxl'): (clone/name).touch() # a new song, and another corpus
    corpus = build(clone)
    told = corpus.errors.set_index('path').reason
    assert corpus.manifest.piece.tolist() == songs.piece[2:7].tolist() and len(told) == 4
    assert told[songs.piece[0]] == 'the content is not that of the pinned commit' and told[songs.piece[1]].startswith('not in ')
    assert told[songs.piece[7]] == 'not compressed MusicXML'
    line = describe_build(corpus, 'out')[0]
    assert line.startswith('openscore:lieder: 1 of 8 scores are not in ') and f'git checkout {COMMIT}; ' in line
    assert '; 2 of 7 scores in ' in line and line.endswith(' are newer than the manifest, such as lc99.mxl') and '; 1 scores in' in line
    assert '5 pieces read, 3 left out' in describe_build(corpus, 'out')[1]


def test_a_folder_without_any_right_score_is_refused(songs, scores, tmp_path, build):
    (tmp_path/'empty').mkdir()
    with pytest.raises(ValueError, match='no score of openscore:lieder in it'): build(tmp_path/'empty')
    with pytest.raises(ValueError, match='no such folder'): build(tmp_path/'nowhere')
    with pytest.raises(ValueError, match='no such folder'): build(scores/songs.piece[0])
    other = tmp_path/'other'
    for piece in songs.piece: write_musicxml(toy_corpus(1, beats=12, seed=9).notes(0), other/piece)
    (other/songs.piece[7]).unlink()
    with pytest.raises(ValueError, match=f'7 of 7 scores in .* git checkout {COMMIT}$'): build(other)


@pytest.mark.skipif(os.name == 'nt', reason='there are no pipes, and links need rights')
def test_what_cannot_be_read_on_disk_is_named(songs, scores, tmp_path):
    clone = shutil.copytree(scores, tmp_path/'clone')
    (clone/songs.piece[0]).unlink()
    (clone/songs.piece[0]).symlink_to(tmp_path/'gone')
    (clone/songs.piece[1]).unlink()
    os.mkfifo(clone/songs.piece[1]) # a pipe does not block
    assert find_scores(clone, songs)[1] == {songs.piece[0]: 'no such file', songs.piece[1]: 'the file is empty'}


# ---- a server

class Server(ThreadingHTTPServer):
    "Serves a folder under any address; `ill` says what is done instead for a file, given how often it was asked for."
    daemon_threads = True

    def __init__(self, folder):
        self.folder, self.asked, self.ill = folder, Counter(), {}
        super().__init__(('127.0.0.1', 0), Handler)

    def handle_error(self, *args): pass # of connections that the client ended


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *args): pass

    def answer(self, data, code=200, size=None, **headers):
        self.send_response(code)
        self.send_header('Content-Length', str(len(data) if size is None else size))
        for k, v in headers.items(): self.send_header(k.replace('_', '-'), v)
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        path = unquote(self.path)
        name = path.split('/')[-1]
        self.server.asked[path] += 1
        inside = path.partition(f'{COMMIT}/')[2]
        data = (self.server.folder/inside).read_bytes()
        ill = self.server.ill.get(name, self.server.ill.get('*'))
        if ill is None or ill(self, data, self.server.asked[path]): self.answer(data)


def cut(h, data, n): h.answer(data[:len(data)//2], size=len(data))
def page(h, data, n): h.answer(b'<!DOCTYPE html><html>Sign in to this network</html>', Content_Type='text/html')
def lie(h, data, n): h.answer(data + b'\0')
def gone(h, data, n): h.answer(b'404: Not Found', 404)
def broken(h, data, n): h.answer(b'oops', 500)
def busy(h, data, n): h.answer(b'slow down', 429, Retry_After='0')
def once(what): return lambda h, data, n: True if n > 1 else what(h, data, n)
def hang_up(h, data, n): h.connection.close()


def trickle(h, data, n):
    h.send_response(200)
    h.send_header('Content-Length', str(len(data)))
    h.end_headers()
    for b in data[:100]:
        h.wfile.write(bytes([b]))
        h.wfile.flush()
        time.sleep(.05)


@pytest.fixture
def server(scores, songs, monkeypatch):
    server = Server(scores)
    thread = threading.Thread(target=server.serve_forever, kwargs=dict(poll_interval=.01))
    thread.start()
    monkeypatch.setenv('MUSICLM_OPENSCORE', f'http://127.0.0.1:{server.server_port}/')
    for name, value in dict(TIMEOUT=20, MAX_SECONDS=60, TRIES=2, PAUSE=.01).items(): monkeypatch.setattr(openscore, name, value)
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def kept(tmp_path): return sorted(p.name for p in (tmp_path/'cache'/'openscore'/'lieder').iterdir())


def test_files_are_fetched_once(server, songs, tmp_path, build):
    corpus = build()
    assert corpus.manifest.piece.tolist() == songs.piece.tolist() and corpus.errors.empty
    assert server.asked == {f'/OpenScore/Lieder/{COMMIT}/{p}': 1 for p in songs.piece}
    assert kept(tmp_path) == [f'lc{k}.mxl' for k in range(8)]
    server.asked.clear()
    assert len(build()) == 8 and not server.asked
    (tmp_path/'cache/openscore/lieder/lc3.mxl').write_bytes(b'PK broken')  # a file that rots is fetched anew
    assert len(build()) == 8 and sum(server.asked.values()) == 1


def test_an_ill_server_costs_single_files_and_the_next_run_fetches_those_only(server, songs, tmp_path, monkeypatch, build):
    monkeypatch.setattr(openscore, 'MAX_SECONDS', 1.5)
    server.ill = {'lc0.mxl': cut, 'lc1.mxl': page, 'lc2.mxl': lie, 'lc3.mxl': gone, 'lc4.mxl': broken, 'lc6.mxl': trickle, 'lc7.mxl': page}
    corpus = build(out=tmp_path/'store')
    told = corpus.errors.set_index('path').reason
    assert corpus.manifest.piece.tolist() == [songs.piece[5]] and kept(tmp_path) == ['lc5.mxl']
    for piece, reason in zip(songs.piece[[0, 1, 2, 3, 4, 6, 7]], (
            'broke off', 'not that of the pinned commit', 'not that of the pinned commit', 'answers 404', 'answers 500', 'not done after', 'not compressed')):
        assert reason in told[piece]
    assert re.fullmatch('7 of 8 scores could not be fetched .*; the same command tries them again', told['openscore:lieder'])
    assert Counter(Path(p).name for p in server.asked.elements())['lc3.mxl'] == 1  # a 404 is final
    server.ill = {}
    server.asked.clear()
    corpus = build(out=tmp_path/'store')
    assert len(corpus) == 8 and corpus.errors.empty and set(server.asked.values()) == {1} and len(server.asked) == 7


@pytest.mark.parametrize('what', [cut, page, lie, broken, busy, trickle, hang_up])
def test_what_goes_wrong_once_is_tried_again(server, songs, tmp_path, monkeypatch, what, build):
    if what is trickle: monkeypatch.setattr(openscore, 'MAX_SECONDS', 1.5)
    server.ill = {'*': once(what)}
    corpus = build()
    asked = [n for path, n in server.asked.items() if what is not lie or 'lc7' not in path] # whose hash is not known
    assert corpus.errors.values.tolist() == [] and len(corpus) == 8 and set(asked) == {2}


@pytest.mark.parametrize('what,said', [(broken, 'the server answers 500'), (page, 'the content is not'), (cut, 'the connection broke off')])
def test_a_server_that_is_down_is_not_asked_for_every_file(server, songs, monkeypatch, build, what, said):
    many = pd.concat([songs]*9, ignore_index=True)
    many['piece'] = [re.sub(r'lc\d+', f'lc{k}', p) for k, p in enumerate(many.piece)]
    monkeypatch.setattr(openscore, 'read_manifest', lambda name: many)
    server.ill = {'*': what}
    server.folder = type('Any', (), dict(__truediv__=lambda s, o: s, read_bytes=lambda s: b'x'*99))()
    with pytest.raises(ValueError, match=r'cannot be fetched from http://127.0.0.1:\d+ \(' + said + r'.*\): give the folder of a clone of .* \(--path\)$'):
        build()
    assert len(server.asked) < 40


def test_no_network_gives_one_line(server, songs, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv('MUSICLM_OPENSCORE', 'http://127.0.0.1:9')
    assert main(['encode', 'openscore:lieder', '--out', str(tmp_path/'store'), '--workers', '1']) != 0
    said = capsys.readouterr().err.strip()
    assert '--path' in said and 'openscore:lieder cannot be fetched' in said and len(said.splitlines()) == 1
    assert not (tmp_path/'store').exists()


def test_a_wrong_address_is_refused(songs, tmp_path, monkeypatch, build):
    monkeypatch.setenv('MUSICLM_OPENSCORE', 'mirror/of/mine')
    with pytest.raises(ValueError, match="MUSICLM_OPENSCORE is no address: 'mirror/of/mine'"): build()


def test_a_full_disk_ends_it_with_one_line(server, songs, tmp_path, monkeypatch, build):
    def full(*args): raise OSError(errno.ENOSPC, 'No space left on device')
    monkeypatch.setattr(openscore, 'atomic_write', full)
    with pytest.raises(ValueError, match=r'cannot be written \(No space left on device\)$'): build()


# ---- the command

def test_the_command_reads_a_folder(tmp_path, capsys):
    unknown = SONGS.piece[SONGS.blob == ''].tolist()[:3]
    for k, piece in enumerate(unknown): write_musicxml(toy_corpus(3, beats=16).notes(k), tmp_path/'clone'/piece)
    store = tmp_path/'store'
    assert main(['encode', 'openscore:lieder', '--out', str(store), '--path', str(tmp_path/'clone'), '--workers', '1']) == 0
    out, manifest = capsys.readouterr().out, Corpus.load(store).manifest
    assert '1,439 of 1,442 scores are not in' in out and '3 pieces read, 1,439 left out' in out
    assert sorted(manifest.piece) == sorted(unknown) and ', ' in manifest.composer[0] and set(manifest.split) == {'test'}


@pytest.mark.parametrize('args,said', [
    ('encode openscore:abba --out X', 'there is no corpus openscore:abba; there are openscore:lieder and openscore:quartets'),
    ('encode openscore:lieder --out X --metadata t.csv', '--metadata is for a folder'),
    ('encode openscore:lieder --out X --path nowhere', 'nowhere: no such folder'),
    ('encode music21:bach --out X --path nowhere', '--path is the folder of openscore:NAME')])
def test_wrong_commands_say_so(tmp_path, monkeypatch, capsys, args, said):
    monkeypatch.chdir(tmp_path)
    assert main(args.split()) != 0 and said in capsys.readouterr().err and not (tmp_path/'X').exists()


def test_the_list_names_licence_place_and_paper(capsys):
    for name in ('lieder', 'quartets'): assert main(['corpora', f'openscore:{name}']) == 0
    out = capsys.readouterr().out
    assert 'CC0-1.0' in out and 'github.com/OpenScore/Lieder' in out and 'Music Encoding Conference 2021' in out and 'DLfM 2023' in out
