// The form of a model: one text, or one field per input, made from what the model declares.

import { el } from "./dom.js";
import { inputField, textField } from "./fields.js";
import { sentence } from "./format.js";

// Whether a text is all that the model wants.
export const takesText = (model) => Boolean(model.text) && (Boolean(model.text.tokenizer) || model.inputs.length === 1);

// The shape of one item: what is left without the batch.
export const itemShape = (model, spec) => (model.batching.batch_dimension ? spec.shape.slice(1) : spec.shape);

// Returns { element, read, mark }. `read` gives the member of a request that holds the input, as JSON, or null after
// marking what cannot be sent; `mark` shows a problem's errors at their fields and returns those that belong to none.
export function makeForm(model) {
  const fields = takesText(model) ? [textField()] : model.inputs.map((spec) => inputField(placeOf(model, spec)));
  const element = el(
    "div",
    { class: "fields" },
    fields.map((field) => field.element),
  );
  const focusFault = () => fields.find((field) => field.isFaulty())?.focus();

  const read = () => {
    fields.forEach((field) => field.forget());
    const values = fields.map((field) => field.read());
    focusFault();
    if (values.includes(null)) return null;
    if (takesText(model)) return `"text":${values[0]}`;
    if (fields.length === 1) return `"input":${values[0]}`;
    const members = model.inputs.map((spec, index) => `${JSON.stringify(spec.name)}:${values[index]}`);
    return `"input":{${members.join(",")}}`;
  };

  const mark = (errors) => {
    const homeless = errors.filter(({ pointer, detail }) => {
      const field = fields.find((one) => pointer === one.pointer || pointer.startsWith(`${one.pointer}/`));
      field?.tell(sentence(detail), pointer.slice(field.pointer.length + 1));
      return !field;
    });
    focusFault();
    return homeless.map(({ pointer, detail }) => (pointer ? `${pointer}: ${detail}` : sentence(detail)));
  };

  return { element, read, mark };
}

// What a field needs to know of its input. The server points into named inputs by name, and into an only one directly.
function placeOf(model, spec) {
  const index = model.inputs.indexOf(spec);
  const escaped = spec.name.replaceAll("~", "~0").replaceAll("/", "~1");
  const pointer = model.inputs.length === 1 ? "/input" : `/input/${escaped}`;
  return { id: `input-${index}`, pointer, spec, shape: itemShape(model, spec) };
}
