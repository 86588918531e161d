// The listening page: players, piano rolls that seek, sorting, filtering, keys, and WAV files.
const byId = id => document.getElementById(id), list = byId('list'), PAGE = 10;
const audioOf = card => card && card.querySelector('audio'), boxOf = card => card.querySelector('.rollbox');

// ---- cards: those after the first page are text until they are shown
const about = JSON.parse(byId('pieces')?.textContent || '[]'); // {rank, critic, score, length, composer}, by rank
function cardOf(rank) {
  const there = byId('p' + rank), text = byId('card' + rank);
  if (there || !text) return there;
  const box = document.createElement('template');
  box.innerHTML = text.textContent;
  text.remove();
  const card = box.content.querySelector('.piece');
  list.append(card);
  wire(card);
  return card;
}
const allCards = () => [...list.querySelectorAll('.piece')];
const shown = () => allCards().filter(card => !card.hidden);

// ---- playing
function between(x, points, from, to) { // linear interpolation in pairs of seconds and share of the roll
  let i = 1;
  while (i < points.length - 1 && points[i][from] < x) i++;
  const [a, b] = [points[i - 1], points[i]], part = (x - a[from])/((b[from] - a[from]) || 1);
  return a[to] + Math.max(0, Math.min(1, part))*(b[to] - a[to]);
}
const placesOf = card => JSON.parse(boxOf(card).dataset.places);
const clock = s => Math.floor(s/60) + ':' + String(Math.floor(s%60)).padStart(2, '0');
function follow(card) {
  const audio = audioOf(card), box = boxOf(card), time = audio.currentTime, prompt = +box.dataset.prompt;
  box.querySelector('.cursor').style.left = 100*between(time, placesOf(card), 0, 1) + '%';
  const where = prompt ? (time < prompt ? ', in the prompt' : ', in the continuation') : '', now = card.querySelector('.now');
  if (now.textContent !== clock(time) + where) {
    now.textContent = clock(time) + where;
    box.setAttribute('aria-valuenow', Math.round(time)); box.setAttribute('aria-valuetext', now.textContent);
  }
}
function seek(card, time, play) {
  const audio = audioOf(card);
  if (!audio) return;
  const go = () => { audio.currentTime = Math.max(0, Math.min(time, audio.duration - .1)); if (play) audio.play().catch(() => {}); };
  if (audio.readyState) go();
  else { audio.addEventListener('loadedmetadata', go, {once: true}); audio.preload = 'auto'; audio.load(); }
}
function wire(card) {
  const audio = audioOf(card), box = boxOf(card), run = () => { follow(card); if (!audio.paused) requestAnimationFrame(run); };
  card.querySelector('.wav')?.addEventListener('click', () => wav(card));
  if (!audio) return;
  audio.addEventListener('play', () => {
    for (const other of allCards()) if (other !== card) audioOf(other)?.pause();
    choose(card, false); card.classList.add('playing'); run();
  });
  audio.addEventListener('seeked', run);
  audio.addEventListener('pause', () => card.classList.remove('playing'));
  box.addEventListener('click', event => {
    const area = box.getBoundingClientRect();
    seek(card, between((event.clientX - area.left)/area.width, placesOf(card), 1, 0), true);
  });
}

// ---- the current card, sorting and filtering
let here = null, order = [], limit = PAGE;
function choose(card, focus = true) {
  if (!card) return;
  here?.classList.remove('here');
  here = card; card.classList.add('here');
  if (focus) { card.focus({preventScroll: true}); card.scrollIntoView({block: 'nearest'}); }
}
const orders = {
  rank: (a, b) => a.rank - b.rank, composer: (a, b) => (a.composer || '~').localeCompare(b.composer || '~') || b.score - a.score,
  critic: (a, b) => b.critic - a.critic, score: (a, b) => b.score - a.score, length: (a, b) => b.length - a.length};
function show() {
  const cards = order.slice(0, limit).map(p => cardOf(p.rank)), visible = new Set(cards);
  list.append(...cards);
  for (const card of allCards()) card.hidden = !visible.has(card);
  byId('more').hidden = limit >= order.length;
  byId('shown').value = `${order.length} of ${about.length} pieces`;
  if (here?.hidden) { audioOf(here)?.pause(); here.classList.remove('here'); here = null; }
}
function arrange() {
  const value = id => byId(id)?.value || '', who = value('composer');
  const enough = p => ['critic', 'score'].every(k => !(+value('least-' + k) > 0) || p[k] >= +value('least-' + k));
  order = about.filter(p => (!who || p.composer === who) && enough(p));
  order.sort((a, b) => orders[value('sort')](a, b) || a.rank - b.rank);
  limit = PAGE;
  show();
}
function showMore() { limit += PAGE; show(); }
allCards().forEach(wire);
const tools = document.querySelector('.tools');
if (tools) {
  tools.hidden = false;
  if (innerWidth < 620) document.querySelector('.sorting').open = false; // the first piece comes first on a phone
  tools.addEventListener('input', arrange);
  tools.addEventListener('submit', event => event.preventDefault());
  tools.querySelector('.ask').addEventListener('click', () => byId('keys').showModal());
  byId('more').querySelector('button').addEventListener('click', showMore);
  arrange();
  new IntersectionObserver(seen => { if (seen.some(s => s.isIntersecting) && scrollY) showMore(); }, {rootMargin: '300px'}).observe(byId('more'));
}
document.addEventListener('focusin', event => choose(event.target.closest('.piece'), false));

// ---- keys
function move(by) {
  let all = shown(), at = all.indexOf(here) + by;
  if (at >= all.length && limit < order.length) { showMore(); all = shown(); }
  choose(all[Math.max(0, Math.min(all.length - 1, at))]);
}
const toggle = () => { const audio = audioOf(here); if (audio) audio.paused ? audio.play().catch(() => {}) : audio.pause(); };
const skip = by => here && seek(here, (audioOf(here)?.currentTime || 0) + by);
const playNext = by => { const old = here; move(by); if (here && here !== old) seek(here, 0, true); };
const acts = {
  j: () => move(1), k: () => move(-1), n: () => playNext(1), p: () => playNext(-1), ' ': () => { if (!here) move(1); toggle(); },
  ArrowLeft: () => skip(-5), ArrowRight: () => skip(5), Home: () => here && seek(here, 0),
  c: () => here && boxOf(here).dataset.prompt && seek(here, +boxOf(here).dataset.prompt, true),
  '?': () => byId('keys').showModal()};
document.addEventListener('keydown', event => {
  const busy = event.target.closest('input, select, button, a, audio, dialog') || event.ctrlKey || event.metaKey || event.altKey;
  if (busy || byId('keys')?.open || !acts[event.key] || !byId('keys')) return;
  event.preventDefault(); acts[event.key]();
});

// ---- a piece as a WAV file, decoded from what its player plays: 16 bits, one channel
async function wav(card) {
  const bytes = Uint8Array.from(atob(audioOf(card).src.split(',')[1]), c => c.charCodeAt(0));
  const sound = await new OfflineAudioContext(1, 1, 16000).decodeAudioData(bytes.buffer), n = sound.length;
  const view = new DataView(new ArrayBuffer(44 + 2*n)), rate = sound.sampleRate;
  const text = (at, s) => [...s].forEach((c, i) => view.setUint8(at + i, c.charCodeAt(0)));
  const long = (at, x) => view.setUint32(at, x, true), short = (at, x) => view.setUint16(at, x, true);
  text(0, 'RIFF'); long(4, 36 + 2*n); text(8, 'WAVEfmt '); long(16, 16); short(20, 1); short(22, 1);
  long(24, rate); long(28, 2*rate); short(32, 2); short(34, 16); text(36, 'data'); long(40, 2*n);
  sound.getChannelData(0).forEach((v, i) => view.setInt16(44 + 2*i, Math.round(Math.max(-1, Math.min(1, v))*32767), true));
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([view], {type: 'audio/wav'}));
  link.download = card.querySelector('.wav').dataset.file; link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
