const $ = id => document.getElementById(id), quiz = JSON.parse($('quiz').textContent);
const place = 'musiclm-quiz-' + quiz.id, fresh = () => ({
  session: Array.from(crypto.getRandomValues(new Uint8Array(6)), b => b.toString(16).padStart(2, '0')).join(''),
  at: 0, finished: false, name: '', experience: '',
  answers: quiz.clips.map(() => ({answer: null, seconds: 0, plays: 0}))});
function load() {
  try {
    const kept = JSON.parse(localStorage.getItem(place));
    if (kept && kept.answers.length === quiz.clips.length) return kept;
  } catch (e) {} // no storage, or something else in it
  return fresh();
}
let state = load();
function keep() { try { localStorage.setItem(place, JSON.stringify(state)); } catch (e) {} }
function truths() {
  let s = parseInt(quiz.id.slice(0, 8), 16);
  const bytes = Uint8Array.from(atob(quiz.key), c => {
    s = (Math.imul(1664525, s) + 1013904223) >>> 0;
    return c.charCodeAt(0) ^ (s >>> 24);
  });
  return JSON.parse(new TextDecoder().decode(bytes));
}
function wilson(k, n, z = 1.959963984540054) {
  const p = k/n, d = 1 + z*z/n, half = z*Math.sqrt(p*(1 - p)/n + z*z/(4*n*n))/d, mid = (p + z*z/(2*n))/d;
  return [Math.max(0, mid - half), Math.min(1, mid + half)];
}

const audio = new Audio(), done = () => state.answers.filter(a => a.answer).length;
let since = null; // when the clip was shown
function stop() { audio.pause(); }
function tick() {
  const length = quiz.clips[state.at].seconds;
  $('time').value = Math.min(1, audio.currentTime/length);
  if (audio.currentTime >= length) stop();
  else if (!audio.paused) requestAnimationFrame(tick);
}
audio.onplay = () => { $('play').textContent = 'Pause'; requestAnimationFrame(tick); };
audio.onpause = () => { $('play').textContent = 'Play'; };
function source(i) { if (audio.dataset.clip !== String(i)) { audio.src = quiz.clips[i].src; audio.dataset.clip = i; } }
function play(i = state.at) {
  if (!audio.paused) return stop();
  source(i);
  if (audio.currentTime >= quiz.clips[i].seconds) audio.currentTime = 0;
  if (!state.finished && audio.currentTime === 0) state.answers[i].plays++;
  audio.play().catch(() => {}); // paused again before it began
}
function show(i, focus = true) {
  stop(); spend();
  state.at = i; since = performance.now(); source(i); $('time').value = 0; keep();
  $('where').textContent = `Clip ${i + 1} of ${quiz.clips.length}`;
  for (const b of document.querySelectorAll('.bar button')) {
    const a = state.answers[b.dataset.clip].answer;
    b.classList.toggle('done', !!a);
    b.setAttribute('aria-label', `Clip ${+b.dataset.clip + 1}, ${a || 'not answered'}`);
    if (+b.dataset.clip === i) b.setAttribute('aria-current', 'step'); else b.removeAttribute('aria-current');
  }
  for (const id of ['human', 'machine']) $(id).setAttribute('aria-pressed', state.answers[i].answer === id);
  $('back').disabled = i === 0; $('next').disabled = i === quiz.clips.length - 1;
  $('finish').disabled = done() < quiz.clips.length;
  $('progress').textContent = `${done()} of ${quiz.clips.length} answered`;
  if (focus) $('where').focus({preventScroll: true});
}
function spend() { // the time a clip was before the listener
  if (since !== null) state.answers[state.at].seconds += (performance.now() - since)/1000;
  since = null;
}
function answer(word) {
  const a = state.answers[state.at];
  if (!a.plays) { $('say').textContent = 'Listen first: press Play, or the space bar.'; return; }
  a.answer = word;
  const next = state.at + 1 < quiz.clips.length && !state.answers[state.at + 1].answer ? state.at + 1 : state.at;
  $('say').textContent = `Clip ${state.at + 1}: ${word}.` + (done() === quiz.clips.length
    ? ' All is answered: show the result, or go back and change your mind.' : '');
  show(next);
}

const cell = (row, text, tag = 'td') => { const c = row.appendChild(document.createElement(tag)); c.textContent = text; return c; };
function sent() { // what is sent back
  const key = truths();
  return {kind: 'musiclm answers', quiz: quiz.id, session: state.session, name: state.name, experience: state.experience,
    answers: state.answers.map((a, i) => ({clip: i + 1, answer: a.answer, truth: key[i][0], source: key[i][1],
      seconds: Math.round(10*a.seconds)/10, plays: a.plays}))};
}
function download() {
  const link = document.createElement('a'), blob = new Blob([JSON.stringify(sent(), null, 1)], {type: 'application/json'});
  link.href = URL.createObjectURL(blob); link.download = `answers-${quiz.id}-${state.session}.json`; link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
function reveal([truth, , what], i) { // a row of the table
  const row = $('result').querySelector('tbody').insertRow(), ok = state.answers[i].answer === truth;
  cell(row, i + 1, 'th').scope = 'row'; cell(row, what);
  cell(row, `${state.answers[i].answer} ${ok ? '✓' : '✗'}`).className = ok ? 'right' : 'wrong';
  const b = cell(row, '').appendChild(document.createElement('button'));
  b.textContent = '▶'; b.setAttribute('aria-label', `Play clip ${i + 1}`);
  b.onclick = () => { const was = !audio.paused && state.at === i; stop(); state.at = i; if (!was) play(i); };
}
function finish() {
  if (done() < quiz.clips.length) return;
  stop(); spend(); state.finished = true; keep();
  const key = truths(), n = key.length, right = state.answers.filter((a, i) => a.answer === key[i][0]).length;
  const fooled = state.answers.filter((a, i) => key[i][0] === 'machine' && a.answer === 'human').length;
  const [low, high] = wilson(right, n), per = x => `${Math.round(100*x)}%`;
  const sure = low > .5 ? 'Better than guessing.' : high < .5 ? 'Worse than guessing: the machine sounds the more human.'
    : 'Guessing could do as well.';
  $('result').innerHTML = `<h2 tabindex="-1" id="verdict">Your result</h2><p class="big">${right} of ${n} right</p>
<p>${per(right/n)}, 95% interval ${per(low)} to ${per(high)}. ${sure} You took ${fooled} of the ${n/2} generated clips for
human.</p><div class="fields"><label>Name (if you like)<input id="name" autocomplete="off" maxlength="80"></label>
<label>Music and you (if you like)<select id="experience"><option value="">no answer</option><option>I listen</option>
<option>I play or sing</option><option>I studied music</option></select></label></div>
<div class="row"><button id="download" class="strong">Download answers</button><button id="again">Start anew</button></div>
<p class="small">The file holds your answers, how long and how often you listened, and the two fields above; nothing else.
It goes nowhere by itself: send it to whoever gave you this page.</p>
<table><caption>What each clip was</caption><thead><tr><th scope="col">Clip</th><th scope="col">It was</th>
<th scope="col">You said</th><th scope="col"><span class="sr">Listen again</span></th></tr></thead><tbody></tbody></table>`;
  key.forEach(reveal);
  for (const id of ['name', 'experience']) { $(id).value = state[id]; $(id).onchange = e => { state[id] = e.target.value; keep(); }; }
  $('download').onclick = download;
  $('again').onclick = () => { if (confirm('Forget these answers?')) { stop(); state = fresh(); since = null; begin(); } };
  $('test').hidden = true; $('result').hidden = false; $('verdict').focus();
}

const step = by => { const i = state.at + by; if (i >= 0 && i < quiz.clips.length) { $('say').textContent = ''; show(i); } };
const acts = {' ': () => play(), h: () => answer('human'), r: () => answer('human'), m: () => answer('machine'),
  g: () => answer('machine'), ArrowLeft: () => step(-1), ArrowRight: () => step(1), Enter: finish};
document.addEventListener('keydown', e => {
  const own = e.target.closest('button, input, select') && (e.key === 'Enter' || e.key === ' ');
  const act = acts[e.key.length === 1 ? e.key.toLowerCase() : e.key];
  if (state.finished || !act || own || e.ctrlKey || e.metaKey || e.altKey || e.target.matches('input, select')) return;
  e.preventDefault(); act();
});
$('play').onclick = () => play(); $('human').onclick = () => answer('human'); $('machine').onclick = () => answer('machine');
$('back').onclick = () => step(-1); $('next').onclick = () => step(1); $('finish').onclick = finish;
for (const b of document.querySelectorAll('.bar button')) b.onclick = () => show(+b.dataset.clip);
addEventListener('pagehide', () => { if (!state.finished) { spend(); since = performance.now(); keep(); } });
function begin() { $('test').hidden = false; $('result').hidden = true; show(state.at, false); if (state.finished) finish(); }
begin();
