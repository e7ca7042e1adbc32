// The page: from what is drawn to probabilities, and to what each pixel says. MODEL is put in before this.
"use strict";

const [HEIGHT, WIDTH, COLOURS = 1] = MODEL.image_size;
const IS_PICTURE = MODEL.preparation.shows === "picture";
const [WEIGHT, BIAS] = ["weight", "bias"].map((name) => {
  const bytes = Uint8Array.from(atob(MODEL[name]), (letter) => letter.charCodeAt(0));
  return Float64Array.from(new Float32Array(bytes.buffer));
});
/** Numbers of an image that the model is given: its pixels, or its features at so many places. */
const COUNT = WEIGHT.length / MODEL.classes.length, IN_FEATURES = Boolean(MODEL.standardisation);
const [ROWS, COLUMNS] = IN_FEATURES ? [Math.ceil(HEIGHT / 4), Math.ceil(WIDTH / 4)] : [HEIGHT, WIDTH];
const SIDE = 560, PEN = 44, LARGEST = 4096, VIEW = 150;
const byId = (id) => document.getElementById(id);
const NOTHING = byId("result").textContent;
const canvas = byId("drawing"), pen = canvas.getContext("2d", { willReadFrequently: true });

/** Rounded so that their sums over an image's pixels are exact, as the pipeline does (docs/exact.md). */
const WEIGHT_ON_GRID = (() => {
  const largest = WEIGHT.reduce((a, b) => Math.max(a, Math.abs(b)), 2 ** -900);
  let power = 1;
  while (power <= largest) power *= 2;
  while (power / 2 > largest) power /= 2;
  const nearest = (power / 2 ** (45 - (32 - Math.clz32(COUNT - 1)))) * 1.5 * 2 ** 52;
  return WEIGHT.map((value) => value + nearest - nearest);
})();

/** The probability of each class, for what the model is given of an image. */
function probabilities(given) {
  const logits = MODEL.classes.map((_, index) => {
    let total = 0;
    for (let i = 0; i < COUNT; i++) total += WEIGHT_ON_GRID[index * COUNT + i] * given[i];
    return total * (1 / 255) + BIAS[index];
  });
  const highest = Math.max(...logits), powers = logits.map((logit) => Math.exp(logit - highest));
  const total = powers.reduce((a, b) => a + b);
  return powers.map((power) => power / total);
}

// ---- what is shown

let chosen = null, seen = null, picture = null, waiting = false;
const bars = MODEL.classes.map((name, index) => {
  const bar = document.createElement("button");
  bar.type = "button";
  const parts = ["<span class=name></span>", "<span class=track aria-hidden=true><span class=bar></span></span>"];
  bar.innerHTML = parts.join("") + "<span class=share></span>";
  bar.firstChild.textContent = name;
  bar.addEventListener("click", () => {
    chosen = chosen === index ? null : index;
    show();
  });
  const item = document.createElement("li");
  item.append(bar);
  byId("classes").append(item);
  return bar;
});

function update() {
  waiting = false;
  const source = picture || canvas;
  const pixels = source.getContext("2d").getImageData(0, 0, source.width, source.height);
  const levels = COLOURS === 1 ? [greyLevels(pixels)] : [0, 1, 2].map((colour) => colourLevels(pixels, colour));
  seen = prepare(levels, MODEL.image_size, MODEL.preparation);
  if (seen) {
    seen.given = IN_FEATURES ? featuresOf(seen.image.values) : seen.image.values;
    seen.probabilities = probabilities(seen.given);
  }
  show();
}

function show() {
  const shares = seen ? seen.probabilities : MODEL.classes.map(() => 0);
  const ranked = MODEL.classes.map((_, index) => index).sort((a, b) => shares[b] - shares[a]);
  const about = chosen ?? ranked[0];
  bars.forEach((bar, index) => {
    const percent = seen ? inPercent(shares[index]) : "";
    bar.querySelector(".bar").style.width = 100 * shares[index] + "%";
    bar.querySelector(".share").textContent = percent;
    bar.classList.toggle("best", Boolean(seen) && index === ranked[0]);
    bar.setAttribute("aria-pressed", String(chosen === index));
    bar.setAttribute("aria-label", `${MODEL.classes[index]}: ${percent || "no answer yet"}`);
  });
  paint(byId("seen"), HEIGHT, WIDTH, colourOf);
  const said = contributions(about), strongest = Math.max(1e-9, most(said.map(Math.abs)));
  paint(byId("said"), ROWS, COLUMNS, (i) => {
    const share = said[i] / strongest, pale = Math.round(255 * (1 - Math.abs(share)));
    return share > 0 ? [178 + (77 * pale) / 255, pale, pale] : [pale, 80 + (175 * pale) / 255, 160 + (95 * pale) / 255];
  });
  byId("about").textContent = seen ? `for and against ${MODEL.classes[about]}` : "for and against";
  byId("said").parentElement.classList.toggle("empty", !seen);
  byId("result").textContent = sentence(shares, ranked);
  byId("done").textContent = seen ? whatWasDone() : "";
}

/** Never 100.0 %: no answer is certain. */
const inPercent = (share) => (share > 0.999 ? "> 99.9 %" : (100 * share).toFixed(1) + " %");

/** How a pixel of the image that the model sees is painted: a picture as it is, and ink dark on white. */
function colourOf(pixel) {
  if (!seen) return [255, 255, 255];
  const levels = [0, 1, 2].map((colour) => seen.image.values[COLOURS * pixel + (colour % COLOURS)]);
  return IS_PICTURE ? levels : levels.map((level) => 255 - level);
}

/** What each pixel adds to the logit of a class: weight × pixel, its colours together; or each place's features. */
function contributions(index) {
  const said = Array(ROWS * COLUMNS).fill(0);
  seen?.given.forEach((level, i) => {
    const place = IN_FEATURES ? i % said.length : Math.floor(i / COLOURS);
    said[place] += (WEIGHT_ON_GRID[index * COUNT + i] * level) / 255;
  });
  return said;
}

function sentence(shares, [first, second]) {
  if (!seen) return NOTHING;
  const named = (index) => `${MODEL.classes[index]} (${inPercent(shares[index])})`;
  return shares[first] < MODEL.unsure ? `Unsure: ${named(first)}, or ${named(second)}?` : `This is ${named(first)}.`;
}

function whatWasDone() {
  const done = [];
  if (picture) done.push("your picture");
  if (picture && seen.inverted) done.push("dark on light, inverted");
  if (seen.levelled) done.push("uneven paper levelled");
  if (seen.thickened) done.push("thin lines thickened");
  return done.join("; ");
}

function paint(target, height, width, colour) {
  target.width = width;
  target.height = height;
  if (width > VIEW) target.style.imageRendering = "auto"; // shown smaller than it is
  const context = target.getContext("2d"), image = context.createImageData(width, height);
  for (let i = 0; i < height * width; i++) image.data.set([...colour(i), 255], 4 * i);
  context.putImageData(image, 0, 0);
}

/** For those who listen: only once a line is done, not at each of its points. */
const say = () => (byId("spoken").textContent = byId("result").textContent);

// ---- what one does

let last = null, finger = null;

function clear() {
  picture = chosen = null;
  pen.fillStyle = "white";
  pen.fillRect(0, 0, SIDE, SIDE);
  seen = null;
  show();
  say();
}

function placeOf(event) {
  const area = canvas.getBoundingClientRect();
  return [((event.clientX - area.left) * SIDE) / area.width, ((event.clientY - area.top) * SIDE) / area.height];
}

function line(to) {
  pen.lineWidth = PEN;
  pen.lineCap = pen.lineJoin = "round";
  pen.strokeStyle = "black";
  pen.beginPath();
  pen.moveTo(...last);
  pen.lineTo(to[0], to[1] + 0.01); // a line of no length would leave no dot
  pen.stroke();
  last = to;
  if (!waiting) requestAnimationFrame(update);
  waiting = true;
}

canvas.addEventListener("pointerdown", (event) => {
  if (event.button || finger !== null) return; // a palm beside the pen draws nothing
  if (picture) clear();
  finger = event.pointerId;
  canvas.setPointerCapture(event.pointerId);
  last = placeOf(event);
  line(last);
  event.preventDefault();
});
canvas.addEventListener("pointermove", (event) => {
  if (event.pointerId !== finger) return;
  for (const each of event.getCoalescedEvents?.() ?? []) line(placeOf(each));
  line(placeOf(event));
});
for (const end of ["pointerup", "pointercancel"]) {
  canvas.addEventListener(end, (event) => {
    if (event.pointerId !== finger) return;
    last = finger = null;
    update();
    say();
  });
}

/** A picture instead of a drawing; drawing again takes it away. */
async function take(file) {
  let image;
  try {
    // Without colour management, as the pipeline reads it.
    image = await createImageBitmap(file, { imageOrientation: "from-image", colorSpaceConversion: "none" });
  } catch {
    clear();
    byId("result").textContent = `${file.name || "That"} is no picture that this browser can read.`;
    say();
    return;
  }
  const share = Math.min(1, LARGEST / Math.max(image.width, image.height));
  const read = document.createElement("canvas");
  read.width = Math.max(1, Math.round(image.width * share));
  read.height = Math.max(1, Math.round(image.height * share));
  read.getContext("2d").drawImage(image, 0, 0, read.width, read.height);
  clear();
  picture = read;
  const fit = SIDE / Math.max(read.width, read.height), [width, height] = [read.width * fit, read.height * fit];
  pen.imageSmoothingEnabled = fit < 1;
  pen.drawImage(read, (SIDE - width) / 2, (SIDE - height) / 2, width, height);
  update();
  if (seen && !IS_PICTURE) {
    const [left, top, right, bottom] = seen.box.map((edge) => edge * fit);
    pen.strokeStyle = "#c1272d";
    pen.lineWidth = 3;
    pen.strokeRect((SIDE - width) / 2 + left, (SIDE - height) / 2 + top, right - left, bottom - top);
  } else if (!seen) byId("result").textContent = "Nothing is drawn on that picture.";
  say();
}

const takeFirst = (files) => files.length && take(files[0]);
byId("clear").addEventListener("click", clear);
byId("file").addEventListener("change", (event) => {
  takeFirst(event.target.files);
  event.target.value = "";
});
document.addEventListener("paste", (event) => takeFirst(event.clipboardData.files));
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  event.preventDefault();
  takeFirst(event.dataTransfer.files);
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") clear();
});

canvas.width = canvas.height = SIDE;
clear();
