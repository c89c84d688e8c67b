// Numbers, times and sizes as people read them. A hyphen of its own stands for what is not known.

export const UNKNOWN = "–";

const known = (value) => typeof value === "number" && Number.isFinite(value);

// 1234.5678 with three significant digits below a thousand, whole above: 1,235.
export function number(value, digits = 3) {
  if (!known(value)) return UNKNOWN;
  const large = Math.abs(value) >= 1000;
  return value.toLocaleString("en", large ? { maximumFractionDigits: 0 } : { maximumSignificantDigits: digits });
}

// Milliseconds, precise where they are few.
export function millis(value) {
  if (!known(value)) return UNKNOWN;
  if (value >= 10_000) return `${(value / 1000).toFixed(1)} s`;
  const digits = value < 10 ? 3 : value < 100 ? 2 : value < 1000 ? 1 : 0;
  return `${value.toFixed(digits)} ms`;
}

// A share of one: 0.8230536 is 82.3 %.
export function percent(share, digits = 1) {
  return known(share) ? `${(share * 100).toFixed(digits)} %` : UNKNOWN;
}

export function bytes(value) {
  if (!known(value)) return UNKNOWN;
  const units = ["B", "KiB", "MiB", "GiB"];
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${number(value)} ${units[unit]}`;
}

// "1 row", "2 rows".
export function count(value, word) {
  return `${value.toLocaleString("en")} ${word}${value === 1 ? "" : "s"}`;
}

// A span of seconds: 90 is "1 min 30 s".
export function span(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const [days, hours, minutes] = [
    Math.floor(whole / 86400),
    Math.floor(whole / 3600) % 24,
    Math.floor(whole / 60) % 60,
  ];
  if (days) return `${days} d ${hours} h`;
  if (hours) return `${hours} h ${minutes} min`;
  if (minutes) return whole % 60 ? `${minutes} min ${whole % 60} s` : `${minutes} min`;
  return `${whole} s`;
}

// A server's sentence with a capital and a full stop.
export function sentence(text) {
  const trimmed = (text ?? "").trim();
  if (!trimmed) return "";
  const capital = trimmed[0].toUpperCase() + trimmed.slice(1);
  return /[.!?…]$/.test(capital) ? capital : `${capital}.`;
}

// A name of the wire in words: rate_limit is "rate limit".
export const words = (name) => String(name).replaceAll("_", " ");

// As it is, cut where a line would end.
export function short(text, length = 80) {
  const whole = String(text);
  return whole.length > length ? `${whole.slice(0, length - 1)}…` : whole;
}
