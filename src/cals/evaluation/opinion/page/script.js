"use strict";
// Shows a rater one video after another. What was answered lies in this browser until the server says that it has it;
// without a server it is saved as a file at the end.

const STORE = `cals-study-${STUDY.id}`;
const RETRY_MS = 3000, TIMEOUT_MS = 15000, BATCH = 50, SECONDS_A_VIDEO = 20;
const NO_SERVER = [403, 404, 405, 501]; // what hosts of plain files reply to an answer

const find = (selector, root = document) => root.querySelector(selector);
const video = find("video"), play = find(".play"), questions = find(".questions"), hint = find(".hint");
let memory = null; // for browsers that keep nothing
let state = load();
let watched = false, sending = false, reached = true, broken = false, timer = 0;

function load() {
  let text = memory;
  try { text = localStorage.getItem(STORE) ?? memory; } catch { /* not allowed here */ }
  return text ? JSON.parse(text) : { rater: null, number: null, alone: false, answers: [], sent: 0, draft: null };
}

function save() {
  memory = JSON.stringify(state);
  try { localStorage.setItem(STORE, memory); } catch { /* not allowed here */ }
}

function forget() {
  memory = null;
  try { localStorage.removeItem(STORE); } catch { /* not allowed here */ }
  state = load();
}

// What is shown

function show(id) {
  for (const part of document.querySelectorAll("main[id]")) part.hidden = part.id !== id;
  window.scrollTo(0, 0);
  find(`#${id} h1`).focus({ preventScroll: true });
  tell();
}

function tell() {
  const waiting = state.answers.length - state.sent;
  let text = "";
  if (state.rater && state.number === null) text = reached ? "" : "The study cannot be reached. Trying again …";
  else if (broken) text = "The video cannot be loaded. Trying again …";
  else if (!state.alone && !reached && waiting) {
    text = `No connection: ${waiting} answer${waiting > 1 ? "s are" : " is"} kept here and will be sent later.`;
  }
  const place = find("#state");
  if (place.textContent !== text) place.textContent = text;
  if (!find("#finish").hidden) tellEnd(waiting);
}

function tellEnd(waiting) {
  const told = state.alone
    ? "That was the last video. Please save your answers as a file, and hand it to whoever asked you to take part."
    : waiting
      ? `That was the last video. ${waiting} of your answers are not sent yet: please leave this page open for a while.
         Should it not work out, save them as a file and hand it to whoever asked you to take part.`
      : "That was the last video, and all your answers have arrived. You can close this page.";
  if (find(".told").textContent !== told) find(".told").textContent = told;
  find(".todo").hidden = !state.alone && !waiting;
  find(".others").hidden = waiting > 0 && !state.saved;
}

function welcome() {
  const videos = STUDY.videos.length;
  find(".count").textContent = videos;
  find(".practice").textContent = ["", "The first one is for practice."][STUDY.practice]
    ?? `The first ${STUDY.practice} are for practice.`;
  find(".minutes").textContent = Math.max(1, Math.round(videos * SECONDS_A_VIDEO / 60));
  show("welcome");
}

function buildQuestions() {
  for (const question of STUDY.questions) {
    const group = document.createElement("fieldset");
    group.className = "question";
    const legend = document.createElement("legend");
    legend.textContent = question.text;
    const scale = document.createElement("div");
    scale.className = "scale";
    for (const score of STUDY.scale) {
      const label = document.createElement("label"), input = document.createElement("input");
      Object.assign(input, { type: "radio", name: question.key, value: score, required: true });
      const end = { [STUDY.scale[0]]: question.low, [STUDY.scale.at(-1)]: question.high }[score];
      if (end) input.setAttribute("aria-label", `${score}, ${end}`);
      label.append(input, String(score));
      scale.append(label);
    }
    const ends = document.createElement("div");
    ends.className = "ends";
    ends.setAttribute("aria-hidden", "true");
    for (const text of [question.low, question.high]) {
      ends.append(Object.assign(document.createElement("span"), { textContent: text }));
    }
    group.append(legend, scale, ends);
    questions.append(group);
  }
}

function videoOf(trial) {
  return STUDY.videos[STUDY.plans[state.number][trial]];
}

function next() {
  const trial = state.answers.length, total = STUDY.videos.length;
  if (trial >= total) {
    video.removeAttribute("src");
    video.load();
    broken = false;
    return show("finish");
  }
  const name = trial < STUDY.practice
    ? `Practice ${trial + 1} of ${STUDY.practice}`
    : `Video ${trial - STUDY.practice + 1} of ${total - STUDY.practice}`;
  find("#trial h1").textContent = name;
  Object.assign(find("progress"), { max: total, value: trial });
  const draft = state.draft?.trial === trial ? state.draft : { scores: {}, watched: false };
  for (const input of questions.querySelectorAll("input")) input.checked = draft.scores[input.name] === Number(input.value);
  watched = draft.watched;
  broken = false;
  video.src = `videos/${videoOf(trial)}.mp4`;
  unlock();
  show("trial");
}

function unlock() {
  questions.disabled = !watched;
  find("#trial form > .main").disabled = !watched;
  hint.textContent = watched ? "Please answer all three questions." : "Watch it to the end, then answer.";
  play.classList.toggle("main", !watched);
  play.textContent = !video.paused ? "Pause" : video.ended || (watched && !video.currentTime) ? "Play again" : "Play";
}

// What a rater does

function keepDraft() {
  state = load();
  const scores = Object.fromEntries([...new FormData(find("#trial form"))].map(([key, score]) => [key, Number(score)]));
  state.draft = { trial: state.answers.length, scores, watched };
  save();
}

function answer(event) {
  event.preventDefault();
  const shown = find("progress").value, scores = {};
  for (const question of STUDY.questions) scores[question.key] = Number(find(`[name=${question.key}]:checked`).value);
  state = load(); // another tab may have answered it already
  if (state.answers.length === shown) {
    const { rater, number } = state;
    state.answers.push({ study: STUDY.id, rater, number, trial: shown, video: videoOf(shown), scores });
    state.draft = null;
    save();
  }
  next();
  send();
}

function start(event) {
  event.preventDefault();
  state = load();
  if (!state.rater) {
    const bytes = crypto.getRandomValues(new Uint8Array(8));
    state.rater = [...bytes].map(byte => byte.toString(16).padStart(2, "0")).join("");
    save();
  }
  begin();
}

async function begin() {
  if (state.number === null) await enter();
  if (state.number !== null) next();
  else setTimeout(begin, RETRY_MS);
}

function chooseNumber() {
  const wanted = parseInt(new URLSearchParams(location.search).get("number"), 10);
  const number = wanted >= 1 ? wanted - 1 : crypto.getRandomValues(new Uint32Array(1))[0];
  return number % STUDY.plans.length;
}

function download() {
  const lines = state.answers.map(one => JSON.stringify(one) + "\n");
  const url = URL.createObjectURL(new Blob(lines, { type: "application/jsonl" }));
  Object.assign(document.createElement("a"), { href: url, download: `answers-${state.rater}.jsonl` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60000);
  state.saved = true;
  save();
  tell();
}

// What goes to the server

async function post(path, document) {
  const stop = new AbortController(), clock = setTimeout(() => stop.abort(), TIMEOUT_MS);
  try {
    return await fetch(path, {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(document), signal: stop.signal,
    });
  } finally { clearTimeout(clock); }
}

async function enter() {
  let status = 0, number = null;
  if (location.protocol === "file:") status = NO_SERVER[0];
  else {
    try {
      const reply = await post("enter", { study: STUDY.id, rater: state.rater, number: state.number });
      status = reply.status;
      if (reply.ok) number = (await reply.json()).number;
    } catch { /* no connection */ }
  }
  const alone = NO_SERVER.includes(status);
  reached = number !== null || alone;
  if (state.number === null && reached) {
    state = load();
    Object.assign(state, { number: alone ? chooseNumber() : number, alone });
    save();
  }
  tell();
  return reached;
}

async function send() {
  clearTimeout(timer);
  if (sending || state.alone || state.number === null) return;
  sending = true;
  try {
    for (state = load(); state.sent < state.answers.length; state = load()) {
      const batch = state.answers.slice(state.sent, state.sent + BATCH), end = state.sent + batch.length;
      const reply = await post("answers", { answers: batch });
      if (reply.status === 409) await enter(); // the server forgot this rater
      if (!reply.ok) throw new Error(reply.status);
      state = load();
      state.sent = Math.max(state.sent, end);
      save();
    }
    reached = true;
  } catch {
    reached = false;
    timer = setTimeout(send, RETRY_MS);
  } finally {
    sending = false;
    tell();
  }
}

buildQuestions();
for (const kind of ["play", "pause", "loadeddata", "ended"]) video.addEventListener(kind, () => {
  if (kind === "loadeddata") broken = false;
  if (kind === "ended" && !watched) {
    watched = true;
    keepDraft();
  }
  unlock();
  tell();
});
video.addEventListener("error", () => {
  if (!video.getAttribute("src")) return;
  broken = true;
  tell();
  setTimeout(() => { if (broken) video.load(); }, RETRY_MS);
});
play.addEventListener("click", () => video.paused ? video.play().catch(() => {}) : video.pause());
video.addEventListener("click", () => play.click());
find("#trial form").addEventListener("submit", answer);
find("#trial form").addEventListener("change", keepDraft);
find("#welcome form").addEventListener("submit", start);
find(".save").addEventListener("click", download);
find(".again").addEventListener("click", () => {
  if (!confirm("Begin anew for another person? The answers given so far stay with the study.")) return;
  forget();
  find("#welcome form").reset();
  welcome();
});
window.addEventListener("online", send);
if (state.rater) begin().then(send);
else welcome();
