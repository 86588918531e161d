"A Dask cluster of two worker processes encodes a corpus, and one of them is killed midway."
import os
import signal

import pytest
from distributed import LocalCluster

from musiclm.corpus import toy_corpus
from musiclm.build import Job, encode_job, folder_corpus, check_visible
from musiclm.notes import transpose, write_midi
from musiclm.tokens import NotewiseEncoder

pytestmark = pytest.mark.filterwarnings('ignore::ResourceWarning', 'ignore::DeprecationWarning', # the cluster's, when it loses a worker
                                        'ignore::pytest.PytestUnraisableExceptionWarning')
N = 240


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    "Many scores: toy pieces under several transpositions, a duplicate among them, and a file that is no music."
    toy, scores = toy_corpus(n=N//5, beats=200), tmp_path_factory.mktemp('cluster')/'scores'
    for i in range(N): # a longer last note tells transpositions apart
        notes = transpose(toy.notes(i//5), i % 5).copy()
        notes.loc[notes.index[-1], 'duration'] += i % 5
        write_midi(notes, scores/toy.manifest.composer[i//5]/f'work {i//10} mvt {i % 10}.mid')
    write_midi(toy.notes(0), scores/'alto'/'twice.mid')
    (scores/'alto'/'words.mid').write_text('no music')
    return scores


@pytest.fixture
def cluster():
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as found: yield found


def store_bytes(folder): return {p.name: p.read_bytes() for p in folder.iterdir()}


def test_a_worker_killed_midway_changes_nothing(folder, cluster, tmp_path, monkeypatch):
    import musiclm.build as corpus
    monkeypatch.setattr(corpus, 'in_batches', lambda jobs: [(1, [job]) for job in jobs]) # many batches
    answers, add, killed = [], corpus.Journal.add, []
    def count(journal, batch):
        answers.extend(a.key for a in batch)
        if len(answers) >= N//4 and not killed:
            killed.append(next(iter(cluster.workers.values())).pid)
            os.kill(killed[0], signal.SIGKILL)
        add(journal, batch)
    monkeypatch.setattr(corpus.Journal, 'add', count)
    built = folder_corpus(folder, out=tmp_path/'cluster', scheduler=cluster.scheduler_address, progress=False)
    assert killed and len(set(answers)) == N + 1 and len(built) == N # 'twice.mid' and its twin are one job
    assert len(built.errors) == 2 and 'basso' not in ''.join(built.errors.path)
    monkeypatch.undo()
    folder_corpus(folder, out=tmp_path/'here', workers=1, progress=False)
    assert store_bytes(tmp_path/'cluster') == store_bytes(tmp_path/'here')
    assert built.manifest.piece.is_unique and built.manifest.key.is_unique


def test_no_scheduler_is_said_in_a_line(folder, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match='no Dask scheduler answers at tcp://127.0.0.1:9'):
        folder_corpus(folder, out=tmp_path/'s', scheduler='tcp://127.0.0.1:9', progress=False)
    assert not (tmp_path/'s').exists()


def test_workers_that_do_not_see_the_scores(folder):
    path = str(folder/'alto'/'words.mid')
    job = Job('k', path, None, 'auto')
    answer = encode_job(job._replace(path='elsewhere/words.mid'), NotewiseEncoder(), dict(max_gap=64, tempo_grid='ticks', cache=None))
    with pytest.raises(ValueError, match="do not see .*words.mid"): check_visible([job], [answer])
