//! Tokens to a tree.

use serde_json::Value;

use super::TemplateError;
use super::funcs;
use super::scan::{Segment, Token, segments, tokens};

#[derive(Debug)]
pub(super) enum Node {
    Text(String),
    Action(Pipeline),
    If { condition: Pipeline, then: Vec<Node>, otherwise: Vec<Node> },
    With { value: Pipeline, then: Vec<Node>, otherwise: Vec<Node> },
    Range { over: Pipeline, body: Vec<Node>, otherwise: Vec<Node> },
    Break,
    Continue,
}

#[derive(Debug)]
pub(super) struct Pipeline {
    /// `$x := ..`, `$k, $v := ..` or `$x = ..`.
    pub(super) variables: Vec<String>,
    /// `=` and not `:=`.
    pub(super) assign: bool,
    /// Each gets the result of the one before as its last argument.
    pub(super) commands: Vec<Vec<Operand>>,
}

#[derive(Debug)]
pub(super) enum Operand {
    Dot,
    Literal(Value),
    Field(Vec<String>),
    Variable(String, Vec<String>),
    Function(String),
    Group(Pipeline, Vec<String>),
}

pub(super) fn parse(source: &str) -> Result<Vec<Node>, TemplateError> {
    let mut parser = Parser { segments: segments(source)?.into_iter(), loops: 0 };
    let (nodes, end) = parser.block()?;
    match end {
        Closer::Source => Ok(nodes),
        Closer::End => Err(TemplateError::new("`end` without a beginning")),
        Closer::Else(_) => Err(TemplateError::new("`else` without `if`, `with` or `range`")),
    }
}

/// What ended a block.
enum Closer {
    Source,
    End,
    /// With what follows the word `else`.
    Else(Vec<Token>),
}

struct Parser<'a> {
    segments: std::vec::IntoIter<Segment<'a>>,
    loops: usize,
}

impl Parser<'_> {
    fn block(&mut self) -> Result<(Vec<Node>, Closer), TemplateError> {
        let mut nodes = Vec::new();
        while let Some(segment) = self.segments.next() {
            let action = match segment {
                Segment::Text(text) => {
                    nodes.push(Node::Text(text));
                    continue;
                }
                Segment::Action(action) => action,
            };
            let mut tokens = tokens(action)?;
            let word = match tokens.first() {
                Some(Token::Identifier(word)) => word.clone(),
                Some(_) => String::new(),
                None => return Err(TemplateError::new("`{{}}` has nothing in it")),
            };
            match word.as_str() {
                "end" => return Ok((nodes, Closer::End)),
                "else" => {
                    tokens.remove(0);
                    return Ok((nodes, Closer::Else(tokens)));
                }
                "if" | "with" | "range" => {
                    tokens.remove(0);
                    nodes.push(self.construct(&word, &tokens)?);
                }
                "break" | "continue" if self.loops == 0 => {
                    return Err(TemplateError::new(format!("`{word}` outside of `range`")));
                }
                "break" => nodes.push(Node::Break),
                "continue" => nodes.push(Node::Continue),
                "define" | "template" | "block" => {
                    return Err(TemplateError::new(format!("`{word}` is not supported")));
                }
                _ => nodes.push(Node::Action(pipeline(&tokens)?)),
            }
        }
        Ok((nodes, Closer::Source))
    }

    /// What follows `if`, `with` or `range`, up to its `end`.
    fn construct(&mut self, word: &str, head: &[Token]) -> Result<Node, TemplateError> {
        let head = pipeline(head)?;
        if word == "range" {
            self.loops += 1;
        }
        let (body, end) = self.block()?;
        if word == "range" {
            self.loops -= 1;
        }
        let otherwise = match end {
            Closer::End => Vec::new(),
            Closer::Source => {
                return Err(TemplateError::new(format!("`{word}` without its `end`")));
            }
            Closer::Else(rest) => match rest.split_first() {
                None => {
                    let (nodes, end) = self.block()?;
                    if !matches!(end, Closer::End) {
                        return Err(TemplateError::new("`else` without its `end`"));
                    }
                    nodes
                }
                // `else if` shares the `end` of its `if`.
                Some((Token::Identifier(again), rest)) if again == word && word != "range" => {
                    vec![self.construct(word, rest)?]
                }
                Some(_) => return Err(TemplateError::new("`else` is followed by something")),
            },
        };
        Ok(match word {
            "if" => Node::If { condition: head, then: body, otherwise },
            "with" => Node::With { value: head, then: body, otherwise },
            _ => Node::Range { over: head, body, otherwise },
        })
    }
}

fn pipeline(tokens: &[Token]) -> Result<Pipeline, TemplateError> {
    let mut cursor = Cursor { tokens, at: 0 };
    let pipeline = cursor.pipeline()?;
    if cursor.at < tokens.len() {
        return Err(TemplateError::new("`)` without its `(`"));
    }
    Ok(pipeline)
}

struct Cursor<'a> {
    tokens: &'a [Token],
    at: usize,
}

impl Cursor<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn variables(&mut self) -> (Vec<String>, bool) {
        let named = |token: &Token| match token {
            Token::Variable(name) => Some(name.clone()),
            _ => None,
        };
        let (variables, next) = match &self.tokens[self.at..] {
            [a, Token::Comma, b, ..] => {
                ([named(a), named(b)].into_iter().flatten().collect::<Vec<_>>(), self.at + 3)
            }
            [a, ..] => (named(a).into_iter().collect(), self.at + 1),
            [] => return (Vec::new(), false),
        };
        match self.tokens.get(next) {
            Some(sign @ (Token::Declare | Token::Assign)) if !variables.is_empty() => {
                self.at = next + 1;
                (variables, *sign == Token::Assign)
            }
            _ => (Vec::new(), false),
        }
    }

    fn pipeline(&mut self) -> Result<Pipeline, TemplateError> {
        let (variables, assign) = self.variables();
        let mut commands = vec![self.command()?];
        while self.peek() == Some(&Token::Pipe) {
            self.at += 1;
            commands.push(self.command()?);
        }
        Ok(Pipeline { variables, assign, commands })
    }

    fn command(&mut self) -> Result<Vec<Operand>, TemplateError> {
        let mut operands = Vec::new();
        while let Some(token) = self.peek() {
            if matches!(token, Token::Pipe | Token::Close) {
                break;
            }
            let operand = self.operand()?;
            operands.push(operand);
        }
        if operands.is_empty() {
            return Err(TemplateError::new("a value is missing"));
        }
        Ok(operands)
    }

    fn operand(&mut self) -> Result<Operand, TemplateError> {
        let token = self.tokens[self.at].clone();
        self.at += 1;
        Ok(match token {
            Token::Dot => Operand::Dot,
            Token::Literal(value) => Operand::Literal(value),
            Token::Field { name, .. } => {
                let mut path = vec![name];
                path.extend(self.path());
                Operand::Field(path)
            }
            Token::Variable(name) => Operand::Variable(name, self.path()),
            Token::Identifier(name) => {
                if !funcs::exists(&name) {
                    return Err(TemplateError::new(format!(
                        "there is no function `{name}`; fields begin with a dot: `.{name}`"
                    )));
                }
                Operand::Function(name)
            }
            Token::Open => {
                let inner = self.pipeline()?;
                if self.peek() != Some(&Token::Close) {
                    return Err(TemplateError::new("`(` without its `)`"));
                }
                self.at += 1;
                Operand::Group(inner, self.path())
            }
            other => {
                let sign = match other {
                    Token::Comma => ",",
                    Token::Declare => ":=",
                    _ => "=",
                };
                return Err(TemplateError::new(format!("`{sign}` is not expected here")));
            }
        })
    }

    /// `.A.B` right after an operand.
    fn path(&mut self) -> Vec<String> {
        let mut path = Vec::new();
        while let Some(Token::Field { name, glued: true }) = self.peek() {
            path.push(name.clone());
            self.at += 1;
        }
        path
    }
}
