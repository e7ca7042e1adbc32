// From an image to the features that the model is given: scattering.py and standardisation.py again, to the last bit.
"use strict";

const LARGEST_FEATURE = 2 ** 16 - 1, LEAST_FIRST = 2 ** 15;
const WHOLE = 1.5 * 2 ** 52;
/** As numpy's rint: halves go to the even neighbour. */
const rounded = (value) => value + WHOLE - WHOLE;

/** Where an index outside of a line lands if that is mirrored at its ends, each end pixel coming twice. */
function reflect(index, length) {
  const within = ((index % (2 * length)) + 2 * length) % (2 * length);
  return Math.min(within, 2 * length - 1 - within);
}

/** The modulus of a map under each wavelet of a scale: whole numbers, at every pixel or at every second one. */
function moduli({ height, width, values }, scale, unit) {
  const stride = 2 ** scale, [real, imaginary] = MODEL.filters.wavelets[scale];
  const size = real[0].length, before = Math.floor((size - stride) / 2);
  const rows = Math.ceil(height / stride), columns = Math.ceil(width / stride);
  const padded = new Float64Array((rows * stride + size) * (columns * stride + size)), line = columns * stride + size;
  for (let y = 0; y < rows * stride + size; y++) {
    for (let x = 0; x < line; x++) {
      padded[y * line + x] = values[reflect(y - before, height) * width + reflect(x - before, width)];
    }
  }
  return real.map((_, angle) => {
    const [cosines, sines] = [real, imaginary].map((part) => Float64Array.from(part[angle].flat()));
    const found = new Float64Array(rows * columns);
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        let a = 0, b = 0;
        for (let v = 0, weight = 0; v < size; v++) {
          let place = (row * stride + v) * line + column * stride;
          for (let u = 0; u < size; u++, place++, weight++) {
            a += cosines[weight] * padded[place];
            b += sines[weight] * padded[place];
          }
        }
        // The sums are exact; then each operation is rounded to 24 bits by itself.
        const squares = Math.fround(Math.fround(a * unit * (a * unit)) + Math.fround(b * unit * (b * unit)));
        found[row * columns + column] = rounded(Math.fround(Math.sqrt(squares)));
      }
    }
    return { height: rows, width: columns, values: found };
  });
}

/** The Gaussian mean of a map whose numbers lie `spacing` pixels apart, at every fourth pixel of the image. */
function averaged({ height, width, values }, spacing) {
  const weights = MODEL.filters.gaussian[spacing - 1], stride = 4 / spacing;
  const before = Math.floor((weights.length - stride) / 2);
  const found = [];
  for (let row = 0; row < Math.ceil(height / stride); row++) {
    for (let column = 0; column < Math.ceil(width / stride); column++) {
      let total = 0;
      weights.forEach((down, v) => {
        const line = reflect(row * stride + v - before, height) * width;
        weights.forEach((across, u) => {
          total += down * across * values[line + reflect(column * stride + u - before, width)];
        });
      });
      found.push(total);
    }
  }
  return found;
}

/** The features of an image, −128 to 127, ordered by colour, coefficient, row and column. */
function featuresOf(values) {
  const numbers = [];
  for (let colour = 0; colour < COLOURS; colour++) {
    const plane = { height: HEIGHT, width: WIDTH, values: values.filter((_, i) => i % COLOURS === colour) };
    const fine = moduli(plane, 0, 2 ** -13), coarse = moduli(plane, 1, 2 ** -13);
    const second = fine.map((map) => moduli(map, 1, 2 ** -12)); // by the angle of the finer wavelet, then the coarser
    const first = fine.map((map) => averaged(map, 1));
    numbers.push(...averaged(plane, 1).map((number) => number * 2 ** -4));
    for (const order of [...first, ...coarse.map((map) => averaged(map, 2))]) {
      numbers.push(...order.map((number) => number * 2 ** -6));
    }
    for (let later = 0; later < coarse.length; later++) {
      fine.forEach((_, angle) => {
        averaged(second[angle][later], 2).forEach((number, place) => {
          numbers.push(Math.fround(number / (first[angle][place] + LEAST_FIRST)) * 2 ** 11);
        });
      });
    }
  }
  const { means, deviations } = MODEL.standardisation;
  return numbers.map((number, i) => {
    if (deviations[i] === 0) return 0;
    const level = (Math.min(rounded(number), LARGEST_FEATURE) - means[i]) * (MODEL.filters.steps / deviations[i]);
    return Math.max(-128, Math.min(127, rounded(level)));
  });
}
