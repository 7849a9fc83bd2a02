//! Trees that are linked and cut, and whose roots are found, in logarithmic time: link-cut trees (Sleator and Tarjan,
//! 1983). With plain parent links, a mailbox whose messages each refer to the one before takes hours (AI5).

/// Containers with at most one parent each, and no loops.
pub(super) struct Forest {
    /// What the trees are: the parents that were linked.
    parents: Vec<Option<usize>>,
    /// How they are walked: paths from a root down, each a splay tree by depth.
    nodes: Vec<Node>,
}

#[derive(Clone, Copy, Default)]
struct Node {
    /// Above it in its splay tree; of the top of one, the container above the path.
    up: Option<usize>,
    /// Nearer to the root, and further from it.
    sides: [Option<usize>; 2],
}

impl Forest {
    pub(super) fn new(containers: usize) -> Forest {
        Forest {
            parents: vec![None; containers],
            nodes: vec![Node::default(); containers],
        }
    }

    pub(super) fn len(&self) -> usize {
        self.parents.len()
    }

    /// Adds a container and gives its place.
    pub(super) fn add(&mut self) -> usize {
        self.parents.push(None);
        self.nodes.push(Node::default());
        self.parents.len() - 1
    }

    pub(super) fn parent(&self, container: usize) -> Option<usize> {
        self.parents[container]
    }

    /// Puts a root below another tree. The caller has asked [`Forest::is_below`].
    pub(super) fn link(&mut self, child: usize, parent: usize) {
        self.expose(child);
        self.nodes[child].up = Some(parent);
        self.parents[child] = Some(parent);
    }

    /// Makes a container with a parent a root.
    pub(super) fn cut(&mut self, child: usize) {
        self.expose(child);
        if let Some(above) = self.nodes[child].sides[0].take() {
            self.nodes[above].up = None;
        }
        self.parents[child] = None;
    }

    /// Whether `container` is `root`, which has no parent, or below it.
    pub(super) fn is_below(&mut self, container: usize, root: usize) -> bool {
        self.expose(container);
        let mut top = container;
        while let Some(nearer) = self.nodes[top].sides[0] {
            top = nearer;
        }
        // What was walked over is brought up, or the next walk would be as long.
        self.splay(top);
        top == root
    }

    /// Makes the path from the root down to `container` one splay tree with `container` at its top.
    fn expose(&mut self, container: usize) {
        let mut below = None;
        let mut at = Some(container);
        while let Some(node) = at {
            self.splay(node);
            self.nodes[node].sides[1] = below;
            below = Some(node);
            at = self.nodes[node].up;
        }
        self.splay(container);
    }

    /// Which side of the one above in its splay tree a node is on; `None` at the top.
    fn side(&self, node: usize) -> Option<(usize, usize)> {
        let up = self.nodes[node].up?;
        let side = self.nodes[up]
            .sides
            .iter()
            .position(|child| *child == Some(node))?;
        Some((up, side))
    }

    fn splay(&mut self, node: usize) {
        while let Some((up, side)) = self.side(node) {
            if let Some((_, upper_side)) = self.side(up) {
                self.rotate(if side == upper_side { up } else { node });
            }
            self.rotate(node);
        }
    }

    fn rotate(&mut self, node: usize) {
        let Some((up, side)) = self.side(node) else {
            return;
        };
        let above = self.side(up);
        let inner = self.nodes[node].sides[1 - side];
        self.nodes[up].sides[side] = inner;
        if let Some(inner) = inner {
            self.nodes[inner].up = Some(up);
        }
        self.nodes[node].sides[1 - side] = Some(up);
        self.nodes[node].up = self.nodes[up].up;
        self.nodes[up].up = Some(node);
        if let Some((above, above_side)) = above {
            self.nodes[above].sides[above_side] = Some(node);
        }
    }
}
