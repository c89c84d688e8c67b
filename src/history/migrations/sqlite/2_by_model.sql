-- It ends with the id, as those before. A model that is seldom asked for is not looked for among millions of other rows.
CREATE INDEX predictions_by_model ON predictions (model);
