"use strict";
// The formulas of both kinds of LRN in JavaScript's double precision, with the letters of AlexNet's paper: alpha
// multiplies the sum of squares as it is. ONNX divides by the size of the window, so its alpha is that many times more.
const lrnFormula = (() => {
  const MAP = 8;

  // The places that are added up for one place.
  function windowOf(kind, n, place) {
    const found = [];
    if (kind === "across") {
      const half = Math.floor(n / 2);
      for (let other = Math.max(0, place - half); other <= Math.min(MAP - 1, place + half); other++) found.push(other);
      return found;
    }
    const back = Math.floor((n - 1) / 2), ahead = Math.ceil((n - 1) / 2);
    const row = Math.floor(place / MAP), column = place % MAP;
    for (let y = Math.max(0, row - back); y <= Math.min(MAP - 1, row + ahead); y++) {
      for (let x = Math.max(0, column - back); x <= Math.min(MAP - 1, column + ahead); x++) found.push(y * MAP + x);
    }
    return found;
  }

  function outputs(kind, { n, k, alpha, beta }, values) {
    return values.map((value, place) => {
      const sum = windowOf(kind, n, place).reduce((total, other) => total + values[other] ** 2, 0);
      return value / (k + alpha * sum) ** beta;
    });
  }

  function attributes(kind, { n, k, alpha, beta }) {
    const size = kind === "across" ? 2 * Math.floor(n / 2) + 1 : n;
    if (kind === "across") return { size, alpha: alpha * size, beta, bias: k };
    return { kernel_shape: size, alpha: alpha * size * size, beta, bias: k };
  }

  return { MAP, windowOf, outputs, attributes };
})();
