"use strict";
// The page of `reprogram serve`: sends an image to /v1/show and draws what comes back. Texts are set as text only.

const byId = (id) => document.getElementById(id);
const state = { token: "", programs: [], asked: 0, waiting: null };

function element(name, text, attributes = {}) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function headers() {
  return state.token ? { Authorization: `Bearer ${state.token}` } : {};
}

async function call(path, options = {}) {
  const response = await fetch(path, { ...options, headers: headers() });
  let document = {};
  try { document = await response.json(); } catch { /* Then there is no error text. */ }
  if (!response.ok) {
    const error = new Error(document.error || `the server answered with status ${response.status}`);
    error.status = response.status;
    throw error;
  }
  return document;
}

function complain(text) {
  byId("problem").textContent = text;
  byId("problem").hidden = !text;
}

// A picture that came as a data URL, as a file; fetch() may not open data URLs here.
function fileOf(url) {
  const bytes = Uint8Array.from(atob(url.slice(url.indexOf(",") + 1)), (character) => character.charCodeAt(0));
  return new Blob([bytes]);
}

function drawSamples() {
  const place = byId("samples");
  place.replaceChildren();
  const seen = new Set();
  for (const program of state.programs) {
    const key = JSON.stringify(program.samples);
    if (!program.samples.length || seen.has(key)) continue;
    seen.add(key);
    const label = `Samples of ${program.task}`;
    const list = element("ul", undefined, { class: "samples", "aria-label": label });
    for (const sample of program.samples) {
      const button = element("button", undefined, { type: "button" });
      button.append(element("img", undefined, { src: sample.picture, alt: "" }), element("span", sample.caption));
      button.setAttribute("aria-label", `Sample ${sample.caption} of ${program.task}`);
      button.addEventListener("click", () => show(fileOf(sample.picture), `the sample ${sample.caption}`));
      const item = element("li");
      item.append(button);
      list.append(item);
    }
    place.append(element("p", label, { class: "soft" }), list);
  }
}

async function begin() {
  try {
    const served = await call("/v1/programs");
    state.programs = served.programs;
    byId("login").hidden = true;
    const names = served.programs.map((program) => program.name).join(", ");
    byId("host").textContent = `The host ${served.host.id} has ${served.host.num_labels} labels and isn't changed. ` +
      `Programs here: ${names}.`;
    drawSamples();
  } catch (error) {
    if (error.status === 401) {
      byId("login").hidden = false;
      byId("host").textContent = "A token is needed.";
      if (state.token) complain("The server doesn't know this token.");
      byId("token").focus();
    } else {
      byId("host").textContent = "What is served here isn't known.";
      complain(`The server can't be asked: ${error.message}`);
    }
  }
}

function number(answer) {
  if (answer.probability !== undefined) return `${(100 * answer.probability).toFixed(1)} %`;
  return answer.score === undefined ? "" : String(Number(answer.score.toPrecision(4)));
}

function table(caption, answers, readFrom = {}) {
  const made = element("table");
  made.append(element("caption", caption));
  for (const answer of answers) {
    const row = element("tr");
    const name = element("td", answer.label);
    const sources = readFrom[answer.label];
    if (sources) name.append(element("span", ` read from ${sources.join(", ")}`, { class: "soft" }));
    if (answer.probability !== undefined) {
      name.append(element("progress", undefined, { max: "1", value: String(answer.probability), "aria-hidden": "true" }));
    }
    row.append(name, element("td", number(answer)));
    made.append(row);
  }
  return made;
}

function card(shown) {
  const program = state.programs.find((one) => one.name === shown.model);
  const made = element("article", undefined, { "data-model": shown.model });
  made.append(element("h3", program ? `Program ${shown.model}` : "The host alone"));
  made.append(element("p", program ? `Task ${program.task}, program ${program.program}` : "no program, its own labels",
    { class: "soft" }));
  const what = program ? `The canvas with the program ${shown.model} around the image` : "The image as the host is shown it";
  made.append(element("img", undefined, { src: shown.picture, alt: what }));
  if (program) {
    made.append(element("p", `The task's answer: ${shown.label}`, { class: "answer" }));
    made.append(table("By the label map", shown.predictions, program.read_from));
    made.append(table("The host itself says", shown.host));
  } else {
    made.append(element("p", `The host says: ${shown.label}`, { class: "answer" }));
    made.append(table("Its first labels", shown.predictions));
  }
  return made;
}

async function show(file, name) {
  const number = ++state.asked;
  const start = performance.now();
  if (state.waiting) state.waiting.abort();
  state.waiting = new AbortController();
  complain("");
  byId("results").setAttribute("aria-busy", "true");
  byId("status").textContent = `Asking about ${name} …`;
  const clock = setInterval(() => { // Beside the status, so that it isn't read aloud every second.
    byId("clock").textContent = `${Math.round((performance.now() - start) / 1000)} s`;
  }, 1000);
  try {
    const answer = await call("/v1/show", { method: "POST", body: file, signal: state.waiting.signal });
    if (number !== state.asked) return;
    byId("results").replaceChildren(...answer.shown.map(card));
    const said = answer.shown.map((one) => `${one.model} says ${one.label}`).join("; ");
    byId("status").textContent =
      `Answers to ${name}, after ${((performance.now() - start) / 1000).toFixed(1)} s: ${said}.`;
  } catch (error) {
    if (number !== state.asked) return;
    byId("results").replaceChildren();
    byId("status").textContent = "No answer.";
    complain(error.status ? `Refused: ${error.message}.` : "The server can't be reached; is it still running?");
    if (error.status === 401) byId("login").hidden = false;
  } finally {
    clearInterval(clock);
    if (number === state.asked) {
      byId("clock").textContent = "";
      byId("results").removeAttribute("aria-busy");
    }
  }
}

byId("file").addEventListener("change", (event) => {
  const [file] = event.target.files;
  if (file) show(file, file.name);
  event.target.value = ""; // The same file may be chosen again.
});
for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault(); // A file that is dropped beside the field doesn't replace the page.
    byId("drop").classList.toggle("over", kind === "dragenter" || kind === "dragover");
    if (kind === "drop" && event.dataTransfer && event.dataTransfer.files.length) {
      const [file] = event.dataTransfer.files;
      show(file, file.name);
    }
  });
}
byId("login").addEventListener("submit", (event) => {
  event.preventDefault();
  state.token = byId("token").value.trim();
  complain("");
  begin();
});
begin();
