"use strict";
// What stands at the ticks of an axis of time. Times are seconds since 1970, words are UTC.
const sriAxis = (() => {
  const months = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(" ");
  const two = (n) => String(n).padStart(2, "0");
  const day = (t) => { const d = new Date(t * 1000); return `${d.getUTCDate()} ${months[d.getUTCMonth()]}`; };
  const clock = (t) => { const d = new Date(t * 1000); return `${two(d.getUTCHours())}:${two(d.getUTCMinutes())}`; };
  const second = (t) => `${clock(t)}:${two(new Date(t * 1000).getUTCSeconds())}`;
  const below = (of) => (t) => `${of(t)}\n${day(t)}`;

  /** A word for each tick: the shortest that tells all of them apart. What none tells apart is said once. */
  function labels(times, long) {
    const ways = long ? [day] : [clock, second, below(clock), below(second)];
    const said = ways.map((way) => times.map(way));
    const found = said.find((some) => new Set(some).size === some.length) ?? said[long ? 0 : 1];
    return found.map((word, i) => (found.indexOf(word) === i ? word : ""));
  }
  return { day, clock, second, labels };
})();
