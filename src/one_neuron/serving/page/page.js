"use strict";

const find = (id) => document.getElementById(id);
const percent = (share) => `${(100 * share).toFixed(1)} %`;
let model = null;
let newest = 0; // the number of the picture that was chosen last: an earlier answer that comes later is not shown

/** Write a text into all elements of a class. */
function fill(name, text) {
  for (const element of document.getElementsByClassName(name)) element.textContent = text;
}

/** Return the JSON of an address; throw its one-line error. */
async function ask(address, options) {
  const response = await fetch(address, options);
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

/** Show what the model is. */
function showModel() {
  fill("positive", model.positive_class);
  fill("size", `${model.num_px} x ${model.num_px}`);
  find("weights").src = model.weights;
  find("threshold").style.left = `calc(${100 * model.threshold}% - 1px)`;
  const facts = { classes: model.classes.join(", "), pixels: `${model.num_px} x ${model.num_px}, ${model.resize}` };
  for (const [name, value] of Object.entries(model.metrics)) {
    facts[name.replaceAll("_", " ")] = name.endsWith("accuracy") ? percent(value) : Number(value.toPrecision(6));
  }
  for (const [name, value] of Object.entries(model.trained_with)) {
    if (name !== "train_sha256") facts[name.replaceAll("_", " ")] = value;
  }
  for (const [name, value] of Object.entries(model.origin)) facts[name.replaceAll("_", " ")] = value;
  facts["SHA-256"] = `${model.sha256.slice(0, 16)}…`;
  for (const [name, value] of Object.entries(facts)) {
    const term = document.createElement("dt");
    const meaning = document.createElement("dd");
    term.textContent = name;
    meaning.textContent = value;
    find("facts").append(term, meaning);
  }
}

/** Show the worst mistakes, if there are any. */
function showMistakes(mistakes) {
  find("mistakes").hidden = mistakes.length === 0;
  for (const mistake of mistakes) {
    const figure = document.createElement("figure");
    const image = document.createElement("img");
    const caption = document.createElement("figcaption");
    image.src = mistake.seen;
    image.className = "pixels";
    image.alt = mistake.file;
    caption.textContent = `true: ${mistake.actual}, P(${model.positive_class}) = ${mistake.probability.toFixed(2)}`;
    figure.append(image, caption);
    find("worst").append(figure);
  }
}

/** Send a picture, and show the answer. */
async function classify(file) {
  const number = ++newest;
  find("message").textContent = "";
  const body = new FormData();
  body.append("file", file, file.name || "pasted");
  try {
    const answer = await ask("explain", { method: "POST", body });
    if (number === newest) showAnswer(file, answer);
  } catch (error) {
    if (number !== newest) return;
    find("result").hidden = true;
    find("message").textContent = error instanceof TypeError ? "The server does not answer; start it again." : `${file.name || "The picture"} ${error.message}`;
  }
}

/** Show a prediction and its pictures. */
function showAnswer(file, answer) {
  const original = find("original");
  URL.revokeObjectURL(original.src);
  original.src = URL.createObjectURL(file);
  original.alt = file.name || "the pasted picture";
  find("seen").src = answer.seen;
  find("seen").alt = `the picture at ${model.num_px} x ${model.num_px} pixels`;
  find("contributions").src = answer.contributions;
  find("contributions").alt = `orange pixels speak for ${model.positive_class}, blue ones against it, grey ones say nothing`;
  const name = `P(${model.positive_class}) = ${answer.probability.toFixed(4)}`;
  find("answer").textContent = `${answer.class}, ${name}`;
  find("answer").dataset.probability = answer.probability;
  find("bar").style.width = percent(answer.probability).replace(" ", "");
  find("scale-text").textContent = `Above ${model.threshold} the answer is ${model.positive_class}.`;
  find("result").hidden = false;
  find("answer").focus({ preventScroll: true });
  find("result").scrollIntoView({ block: "nearest" });
}

/** Return the first picture of a drop or a paste. */
function pick(transfer) {
  return [...transfer.files].find((file) => file.type.startsWith("image/")) || transfer.files[0];
}

find("file").addEventListener("change", (event) => {
  if (event.target.files.length) classify(event.target.files[0]);
  event.target.value = ""; // the same file can be chosen again
});
for (const name of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    find("drop").classList.toggle("over", name === "dragover");
    if (name === "drop" && pick(event.dataTransfer)) classify(pick(event.dataTransfer));
  });
}
document.addEventListener("paste", (event) => {
  if (pick(event.clipboardData)) classify(pick(event.clipboardData));
});

find("address").textContent = location.origin;
ask("model").then((answer) => {
  model = answer;
  showModel();
  return ask("mistakes");
}).then((answer) => showMistakes(answer.mistakes)).catch((error) => {
  find("message").textContent = `The model cannot be shown (${error.message}); start the server again.`;
});
