use super::machine::Machine;
use super::{Node, NodeId, PickleError, Value};

/// What instructions take from the stack. Nothing is taken from below the last mark.
impl<'a> Machine<'a, '_> {
    /// The lowest stack length that instructions may pop to: nothing below the last mark.
    pub(super) fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    pub(super) fn pop(&mut self) -> Result<Value, PickleError> {
        Ok(self.pop_many(1)?[0])
    }

    pub(super) fn pop_many(&mut self, count: usize) -> Result<Vec<Value>, PickleError> {
        match self.stack.len().checked_sub(count) {
            Some(start) if start >= self.floor() => Ok(self.stack.split_off(start)),
            _ => Err(self.expected("more values on the stack")),
        }
    }

    pub(super) fn pop_mark(&mut self) -> Result<Vec<Value>, PickleError> {
        let mark = self.marks.pop().ok_or_else(|| self.expected("a mark on the stack"))?;
        Ok(self.stack.split_off(mark))
    }

    pub(super) fn top(&self) -> Result<&Value, PickleError> {
        if self.stack.len() <= self.floor() {
            return Err(self.expected("a value on the stack"));
        }
        self.stack.last().ok_or_else(|| self.expected("a value on the stack"))
    }

    pub(super) fn top_node(&mut self) -> Result<&mut Node<'a>, PickleError> {
        match *self.top()? {
            Value::Ref(NodeId(id)) => Ok(&mut self.nodes[id as usize]),
            _ => Err(self.expected("a container on the stack")),
        }
    }
}
