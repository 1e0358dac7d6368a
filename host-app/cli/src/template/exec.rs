//! Walks the tree.

use serde_json::Value;

use super::funcs::{self, display, truth};
use super::parse::{Node, Operand, Pipeline};
use super::{Methods, TemplateError};

pub(super) fn run(
    nodes: &[Node],
    value: &Value,
    methods: Methods<'_>,
) -> Result<String, TemplateError> {
    let mut state =
        State { out: String::new(), variables: vec![(String::new(), value.clone())], methods };
    state.walk(nodes, value)?;
    Ok(state.out)
}

/// Whether the loop around goes on.
#[derive(PartialEq)]
enum Flow {
    On,
    Break,
    Continue,
}

struct State<'a> {
    out: String,
    /// Innermost last; `$` is the one without a name.
    variables: Vec<(String, Value)>,
    methods: Methods<'a>,
}

impl State<'_> {
    fn walk(&mut self, nodes: &[Node], dot: &Value) -> Result<Flow, TemplateError> {
        let scope = self.variables.len();
        let flow = self.walk_in_scope(nodes, dot)?;
        self.variables.truncate(scope);
        Ok(flow)
    }

    fn walk_in_scope(&mut self, nodes: &[Node], dot: &Value) -> Result<Flow, TemplateError> {
        for node in nodes {
            let flow = match node {
                Node::Text(text) => {
                    self.out.push_str(text);
                    Flow::On
                }
                Node::Action(pipeline) => {
                    let value = self.declare(pipeline, dot)?;
                    if pipeline.variables.is_empty() {
                        self.out.push_str(&display(&value));
                    }
                    Flow::On
                }
                Node::If { condition, then, otherwise } => {
                    let scope = self.variables.len();
                    let value = self.declare(condition, dot)?;
                    let flow = self.walk(if truth(&value) { then } else { otherwise }, dot)?;
                    self.variables.truncate(scope);
                    flow
                }
                Node::With { value, then, otherwise } => {
                    let scope = self.variables.len();
                    let value = self.declare(value, dot)?;
                    let flow = if truth(&value) {
                        self.walk(then, &value)?
                    } else {
                        self.walk(otherwise, dot)?
                    };
                    self.variables.truncate(scope);
                    flow
                }
                Node::Range { over, body, otherwise } => self.range(over, body, otherwise, dot)?,
                Node::Break => Flow::Break,
                Node::Continue => Flow::Continue,
            };
            if flow != Flow::On {
                return Ok(flow);
            }
        }
        Ok(Flow::On)
    }

    fn range(
        &mut self,
        over: &Pipeline,
        body: &[Node],
        otherwise: &[Node],
        dot: &Value,
    ) -> Result<Flow, TemplateError> {
        let items: Vec<(Value, Value)> = match self.evaluate(over, dot)? {
            Value::Array(items) => {
                items.into_iter().enumerate().map(|(at, item)| (at.into(), item)).collect()
            }
            // serde_json's map is ordered by key, as Go ranges over maps.
            Value::Object(map) => map.into_iter().map(|(key, item)| (key.into(), item)).collect(),
            Value::Null => Vec::new(),
            Value::Number(count) if count.is_u64() => {
                (0..count.as_u64().unwrap_or(0)).map(|n| (n.into(), n.into())).collect()
            }
            other => {
                return Err(TemplateError::new(format!(
                    "`range` cannot go over `{}`",
                    display(&other)
                )));
            }
        };
        if items.is_empty() {
            return self.walk(otherwise, dot);
        }
        for (key, item) in items {
            let scope = self.variables.len();
            match over.variables.as_slice() {
                [one] => self.variables.push((one.clone(), item.clone())),
                [first, second] => {
                    self.variables.push((first.clone(), key));
                    self.variables.push((second.clone(), item.clone()));
                }
                _ => {}
            }
            let flow = self.walk(body, &item)?;
            self.variables.truncate(scope);
            if flow == Flow::Break {
                break;
            }
        }
        Ok(Flow::On)
    }

    fn declare(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Value, TemplateError> {
        let value = self.evaluate(pipeline, dot)?;
        if let Some(name) = pipeline.variables.first() {
            if pipeline.assign {
                let slot = self
                    .variables
                    .iter_mut()
                    .rev()
                    .find(|(known, _)| known == name)
                    .ok_or_else(|| TemplateError::new(format!("`${name}` is not declared")))?;
                slot.1 = value.clone();
            } else {
                self.variables.push((name.clone(), value.clone()));
            }
        }
        Ok(value)
    }

    fn evaluate(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Value, TemplateError> {
        let mut last = None;
        for command in &pipeline.commands {
            last = Some(self.command(command, dot, last)?);
        }
        Ok(last.unwrap_or(Value::Null))
    }

    fn command(
        &mut self,
        command: &[Operand],
        dot: &Value,
        piped: Option<Value>,
    ) -> Result<Value, TemplateError> {
        let Some((first, rest)) = command.split_first() else {
            return Err(TemplateError::new("a value is missing"));
        };
        if let Operand::Function(name) = first {
            if let "and" | "or" = name.as_str() {
                return self.short_circuit(name == "or", rest, dot, piped);
            }
            let arguments = self.arguments(rest, dot, piped)?;
            return funcs::call(name, &arguments);
        }
        if rest.is_empty() && piped.is_none() {
            return self.operand(first, dot);
        }
        let arguments = self.arguments(rest, dot, piped)?;
        if let Operand::Field(path) = first
            && let Some((method, before)) = path.split_last()
        {
            let receiver =
                before.iter().try_fold(dot.clone(), |value, name| field(&value, name))?;
            if let Some(result) = (self.methods)(&receiver, method, &arguments) {
                return Ok(result);
            }
            return Err(TemplateError::new(format!("`.{method}` takes no argument")));
        }
        Err(TemplateError::new("a value was given arguments, but is not a function"))
    }

    fn arguments(
        &mut self,
        operands: &[Operand],
        dot: &Value,
        piped: Option<Value>,
    ) -> Result<Vec<Value>, TemplateError> {
        let mut arguments = Vec::with_capacity(operands.len() + 1);
        for operand in operands {
            arguments.push(self.operand(operand, dot)?);
        }
        arguments.extend(piped);
        Ok(arguments)
    }

    /// `and` and `or` evaluate no further than they must, as Go's do since 1.18.
    fn short_circuit(
        &mut self,
        stop_at: bool,
        operands: &[Operand],
        dot: &Value,
        piped: Option<Value>,
    ) -> Result<Value, TemplateError> {
        let mut last = None;
        for operand in operands {
            let value = self.operand(operand, dot)?;
            if truth(&value) == stop_at {
                return Ok(value);
            }
            last = Some(value);
        }
        piped
            .or(last)
            .ok_or_else(|| TemplateError::new("`and` and `or` need at least one argument"))
    }

    fn operand(&mut self, operand: &Operand, dot: &Value) -> Result<Value, TemplateError> {
        let (start, path) = match operand {
            Operand::Dot => return Ok(dot.clone()),
            Operand::Literal(value) => return Ok(value.clone()),
            Operand::Function(name) => return funcs::call(name, &[]),
            Operand::Field(path) => (dot.clone(), path),
            Operand::Variable(name, path) => {
                let value = self
                    .variables
                    .iter()
                    .rev()
                    .find(|(known, _)| known == name)
                    .map(|(_, value)| value.clone())
                    .ok_or_else(|| TemplateError::new(format!("`${name}` is not declared")))?;
                (value, path)
            }
            Operand::Group(pipeline, path) => (self.evaluate(pipeline, dot)?, path),
        };
        path.iter().try_fold(start, |value, name| field(&value, name))
    }
}

fn field(value: &Value, name: &str) -> Result<Value, TemplateError> {
    match value {
        Value::Object(map) => map.get(name).cloned().ok_or_else(|| {
            let known: Vec<&str> = map.keys().map(String::as_str).collect();
            TemplateError::new(match known.as_slice() {
                [] => format!("there is no field `{name}`: there are none here"),
                known => format!("there is no field `{name}`; there are: {}", known.join(", ")),
            })
        }),
        Value::Null => Err(TemplateError::new(format!("there is no field `{name}` of nothing"))),
        other => Err(TemplateError::new(format!(
            "there is no field `{name}` of `{}`, which is not an object",
            display(other)
        ))),
    }
}
