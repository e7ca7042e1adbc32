// Makes of a picture an image like those that the model was trained on: docs/preparation.md, step by step.
// pictures/preparation.py does the same, to the bit, and says why; the names and the constants are the same.
"use strict";

const MOST_CELLS = 160, ENOUGH_CELLS = 80, PLAIN_SHARE = 0.4, SMALLEST_PHOTO = 100, OPENING = 6, LEAST_CONTRAST = 0.1;
const FAINT = 0.35, FAINT_IN_SMALL = 0.1, NOISES = 4, STEP_TO_DEVIATION = 1.0484;
const LEAST_CELLS = 5, LONGEST_ALONG_EDGE = 0.5, STRAY = 0.01, LEVELS = 65535;

/** A table of numbers, by rows. */
class Table {
  constructor(rows, columns, values = new Float64Array(rows * columns)) {
    Object.assign(this, { rows, columns, values });
  }
  /** One of the same size, each value made from the one here. */
  map(make) {
    return new Table(this.rows, this.columns, this.values.map(make));
  }
  part(top, bottom, left, right) {
    const part = new Table(bottom - top, right - left);
    for (let row = top; row < bottom; row++) {
      const line = this.values.subarray(row * this.columns + left, row * this.columns + right);
      part.values.set(line, (row - top) * part.columns);
    }
    return part;
  }
  turned() {
    const turned = new Table(this.columns, this.rows);
    this.values.forEach((value, i) => {
      turned.values[(i % this.columns) * this.rows + Math.floor(i / this.columns)] = value;
    });
    return turned;
  }
  rowSums() {
    const line = (row) => this.values.subarray(row * this.columns, (row + 1) * this.columns);
    return Array.from({ length: this.rows }, (_, row) => sum(line(row)));
  }
}

/** Grey levels of a canvas' pixels, transparency put on white. */
function greyLevels({ data, width, height }) {
  const grey = new Table(height, width);
  for (let i = 0; i < grey.values.length; i++) {
    const [red, green, blue, alpha] = [data[4 * i], data[4 * i + 1], data[4 * i + 2], data[4 * i + 3]];
    const level = (red * 19595 + green * 38470 + blue * 7471 + 32768) >> 16;
    grey.values[i] = onWhite(level, alpha);
  }
  return grey;
}

/** The levels of one colour of a canvas' pixels, 0 red, 1 green or 2 blue, transparency put on white. */
function colourLevels({ data, width, height }, colour) {
  const level = (_, i) => onWhite(data[4 * i + colour], data[4 * i + 3]);
  return new Table(height, width, new Uint8Array(width * height).map(level));
}

const onWhite = (level, alpha) => Math.floor((level * alpha + 255 * (255 - alpha) + 127) / 255);

/** The image and what was done to get it; null where nothing is drawn. Of grey levels, or of red, green and blue. */
function prepare(levels, size, how) {
  const [grey] = levels;
  if (how.shows === "picture") {
    const box = [0, 0, grey.columns, grey.rows];
    const image = interleaved(levels.map((each) => fit(each, size.slice(0, 2))));
    return { image, box, inverted: false, levelled: false, thickened: false };
  }
  const found = find(grey, how.shows === "strokes" && Math.max(grey.rows, grey.columns) >= SMALLEST_PHOTO);
  if (!found) return null;
  let drawn = toLevels(scale(square(found.ink), [how.box, how.box]));
  const thickened = sum(drawn.values) < how.least_ink * drawn.values.length;
  if (thickened) drawn = thicken(drawn, how.least_ink);
  const image = place(drawn, size, how.centre === "mass" ? centreOfMass(drawn) : null);
  return { image, box: found.box, inverted: found.inverted, levelled: found.levelled, thickened };
}

function fit(levels, size) {
  const scaled = scale(levels, fitting(levels, size));
  return place(scaled.map((value) => Math.floor(value / levels.values.length + 0.5)), size, null);
}

/** One table of the values of all at each place, one after the other. */
function interleaved(tables) {
  const [{ rows, columns }] = tables, count = tables.length;
  const values = new Float64Array(rows * columns * count);
  return new Table(rows, columns * count, values.map((_, i) => tables[i % count].values[Math.floor(i / count)]));
}

function find(grey, mayBePhoto) {
  let [cells, factor] = cellMeans(grey);
  const photo = mayBePhoto && 2 * steps(cells) > cells.values.length;
  let paper = middle(photo ? cells.values : frame(cells));
  const inverted = paper - least(cells.values) > most(cells.values) - paper;
  if (!inverted) {
    cells = cells.map((value) => 255 - value);
    paper = 255 - paper;
  }
  const even = cells.values.filter((value) => Math.abs(value - paper) <= 1).length / cells.values.length;
  const plain = !mayBePhoto || even >= PLAIN_SHARE;
  const onPaper = plain ? evenInk(cells, paper, mayBePhoto ? FAINT : FAINT_IN_SMALL) : unevenInk(cells);
  if (!onPaper) return null;
  const { ink, leastInk } = onPaper;
  let inked = ink.map((value) => (value > leastInk ? value : 0));
  if (photo) inked = awayFromEdges(inked, ink.map((value) => (2 * value > leastInk ? 1 : 0)));
  if (!inked) return null;
  const box = boxAround(inked);
  const [top, bottom, left, right] = box;
  if (factor > 1 && Math.max(bottom - top, right - left) < ENOUGH_CELLS) {
    const [first, last, start, end] = closer(grey, factor, box);
    const part = grey.part(first, last, start, end);
    if (factorOf(part) < factor) {
      const found = find(part, mayBePhoto);
      return found && { ...found, box: found.box.map((edge, i) => edge + (i % 2 ? first : start)) };
    }
  }
  let drawn = ink.part(top, bottom, left, right);
  if (!plain) drawn = drawn.map((value) => (2 * value > leastInk ? value : 0));
  const ends = [Math.min(right * factor, grey.columns), Math.min(bottom * factor, grey.rows)];
  return { ink: drawn, box: [left * factor, top * factor, ...ends], inverted, levelled: !plain };
}

const sum = (values) => values.reduce((total, value) => total + value, 0);
const most = (values) => values.reduce((a, b) => Math.max(a, b));
const least = (values) => values.reduce((a, b) => Math.min(a, b));
const middle = (values) => Float64Array.from(values).sort()[values.length >> 1];
const factorOf = ({ rows, columns }) => Math.ceil(Math.max(rows, columns) / MOST_CELLS);

function cellMeans(grey) {
  const factor = factorOf(grey);
  if (factor === 1) return [grey, 1];
  const cells = new Table(Math.ceil(grey.rows / factor), Math.ceil(grey.columns / factor));
  grey.values.forEach((value, i) => {
    const column = i % grey.columns, row = (i - column) / grey.columns;
    cells.values[Math.floor(row / factor) * cells.columns + Math.floor(column / factor)] += value;
  });
  const length = (at, whole) => Math.min(factor, whole - at * factor);
  const count = (i) => length(Math.floor(i / cells.columns), grey.rows) * length(i % cells.columns, grey.columns);
  return [cells.map((value, i) => value / count(i)), factor];
}

function steps({ values, columns }) {
  return values.filter((value, i) => (i + 1) % columns && value !== values[i + 1]).length;
}

function awayFromEdges(inked, faintly) {
  const { rows, columns, values } = inked;
  const at = (row, column) => row * columns + column;
  const byRow = Array.from({ length: columns }, (_, i) => i), byColumn = Array.from({ length: rows }, (_, i) => i);
  const edges = [byRow.map((i) => at(0, i)), byRow.map((i) => at(rows - 1, i))];
  edges.push(byColumn.map((i) => at(i, 0)), byColumn.map((i) => at(i, columns - 1)));
  const along = Math.max(...edges.map((edge) => edge.filter((i) => values[i]).length / edge.length));
  const reached = inked.map(() => 0), waiting = edges.flat().filter((i) => values[i]);
  while (waiting.length) {
    const i = waiting.pop();
    if (reached.values[i] || !faintly.values[i]) continue;
    reached.values[i] = 1;
    if (i % columns) waiting.push(i - 1);
    if ((i + 1) % columns) waiting.push(i + 1);
    if (i >= columns) waiting.push(i - columns);
    if (i + columns < values.length) waiting.push(i + columns);
  }
  const left = inked.map((value, i) => (reached.values[i] ? 0 : value));
  if (left.values.filter((value) => value).length >= LEAST_CELLS) return left;
  return along > LONGEST_ALONG_EDGE ? null : inked;
}

function frame(cells) {
  const { rows, columns } = cells, width = Math.max(1, Math.floor(Math.min(rows, columns) / 20));
  const lying = [[0, width, 0, columns], [rows - width, rows, 0, columns]];
  const upright = [[0, rows, 0, width], [0, rows, columns - width, columns]];
  return [...lying, ...upright].flatMap((edge) => [...cells.part(...edge).values]);
}

const inkLevels = (share) => Math.floor(Math.max(share, 0) * LEVELS + 0.5);

function evenInk(cells, paper, faint) {
  const ink = cells.map((value) => inkLevels((paper - value) / Math.max(paper, 1)));
  const darkest = most(ink.values);
  return darkest <= LEAST_CONTRAST * LEVELS ? null : { ink, leastInk: faint * darkest };
}

function unevenInk(cells) {
  const radius = Math.max(1, Math.floor(Math.max(cells.rows, cells.columns) / OPENING));
  const paper = slide(slide(cells, Math.max, radius), Math.min, radius);
  const dimmed = cells.map((value, i) => (paper.values[i] - value) / Math.max(paper.values[i], 1));
  const toNext = dimmed.values.map((value, i, all) => Math.abs(all[i + 1] - value));
  const changes = toNext.filter((_, i) => (i + 1) % cells.columns);
  const grain = changes.length ? NOISES * (STEP_TO_DEVIATION * middle(changes)) : 0;
  const usual = Math.min(middle(dimmed.values), grain);
  const ink = dimmed.map((value) => inkLevels(value - usual)), darkest = most(ink.values);
  if (darkest <= Math.max(LEAST_CONTRAST, grain) * LEVELS) return null;
  return { ink, leastInk: Math.max(FAINT * darkest, grain * LEVELS) };
}

function slide(cells, pick, radius) {
  for (let axis = 0; axis < 2; axis++) {
    const { rows, columns, values } = cells;
    const slid = values.map((value, i) => {
      const row = i - (i % columns), last = row + columns - 1;
      for (let at = Math.max(row, i - radius); at <= Math.min(last, i + radius); at++) value = pick(value, values[at]);
      return value;
    });
    cells = new Table(rows, columns, slid).turned();
  }
  return cells;
}

function boxAround(ink) {
  const [top, bottom] = span(ink.rowSums());
  const [left, right] = span(ink.part(top, bottom, 0, ink.columns).turned().rowSums());
  return [...span(ink.part(0, ink.rows, left, right).rowSums()), left, right];
}

function span(ink) {
  const stray = STRAY * sum(ink);
  let first = 0, last = ink.length - 1;
  for (let seen = ink[first]; !(seen > stray); seen += ink[++first]);
  for (let seen = ink[last]; !(seen > stray); seen += ink[--last]);
  while (first > 0 && ink[first - 1] > 0) first--;
  while (last < ink.length - 1 && ink[last + 1] > 0) last++;
  return [first, last + 1];
}

function closer({ rows, columns }, factor, box) {
  const [top, bottom, left, right] = box.map((edge) => edge * factor);
  const margin = Math.floor(Math.max(bottom - top, right - left) / 2) + factor;
  const down = [Math.max(top - margin, 0), Math.min(bottom + margin, rows)];
  return [...down, Math.max(left - margin, 0), Math.min(right + margin, columns)];
}

function square(drawn) {
  const side = Math.max(drawn.rows, drawn.columns);
  return place(drawn, [side, side], null);
}

function fitting({ rows, columns }, [height, width]) {
  const share = (length, part, whole) => Math.max(1, Math.floor((2 * part * length + whole) / (2 * whole)));
  if (rows * width > columns * height) return [height, share(height, columns, rows)];
  return [share(width, rows, columns), width];
}

function scale(cells, [height, width]) {
  return across(across(cells, width).turned(), height).turned();
}

function across(cells, count) {
  const scaled = new Table(cells.rows, count), length = cells.columns;
  for (let row = 0; row < cells.rows; row++) {
    for (let cell = 0; cell < length; cell++) {
      const value = cells.values[row * length + cell];
      let pixel = Math.floor((cell * count) / length);
      for (; pixel < count && pixel * length < (cell + 1) * count; pixel++) {
        const shared = Math.min((cell + 1) * count, (pixel + 1) * length) - Math.max(cell * count, pixel * length);
        scaled.values[row * count + pixel] += value * shared;
      }
    }
  }
  return scaled;
}

function toLevels(drawn) {
  const darkest = most(drawn.values);
  return drawn.map((value) => Math.floor((value / darkest) * 255 + 0.5));
}

function thicken(drawn, leastMean) {
  const { rows, columns, values } = drawn;
  const isInside = (row, column) => row >= 0 && column >= 0 && row < rows && column < columns;
  const at = (row, column) => (isInside(row, column) ? values[row * columns + column] : 0);
  const missing = values.map((value, i) => {
    const row = Math.floor(i / columns), column = i % columns;
    const around = [at(row - 1, column), at(row + 1, column), at(row, column - 1), at(row, column + 1)];
    return Math.max(Math.max(...around) - value, 0);
  });
  const share = Math.min(1, (leastMean * values.length - sum(values)) / Math.max(sum(missing), 1));
  return drawn.map((value, i) => Math.floor(value + share * missing[i] + 0.5));
}

function centreOfMass(drawn) {
  const moment = (sums) => sum(sums.map((mass, i) => mass * (2 * i + 1))) / (2 * sum(sums));
  return [moment(drawn.rowSums()), moment(drawn.turned().rowSums())];
}

function place(drawn, size, centre) {
  const [top, left] = [drawn.rows, drawn.columns].map((length, axis) => {
    const room = size[axis] - length;
    const wanted = centre ? Math.floor(size[axis] / 2 + 1 - centre[axis]) : Math.floor(room / 2);
    return Math.min(Math.max(wanted, 0), room);
  });
  const image = new Table(...size);
  for (let row = 0; row < drawn.rows; row++) {
    const line = drawn.values.subarray(row * drawn.columns, (row + 1) * drawn.columns);
    image.values.set(line, (row + top) * image.columns + left);
  }
  return image;
}
