//! The graphs a manifest promises: their files, their edges, and their golden vectors.

use crate::json::Json;
use crate::reader::At;
use crate::refused::Refused;

/// Those that are loaded.
pub const GRAPHS: [&str; 2] = ["signal", "prefix"];
const ALL_GRAPHS: [&str; 4] = ["signal", "prefix", "full", "step"];
const MOST_GOLDEN: usize = 256;
const LARGEST_PROBE: usize = 1 << 25;

/// T, C, D.
pub struct Sizes {
    pub cells: usize,
    pub layers: usize,
    pub width: usize,
}

/// Inputs of a graph, and what it must answer.
#[derive(Default)]
pub struct Golden {
    /// [G, T, C].
    pub signals: Vec<f32>,
    /// [G]; None for `signal`.
    pub lengths: Option<Vec<i64>>,
    pub score: Vec<f32>,
    pub valid: Vec<bool>,
    /// |score - expected| <= tolerance.
    pub tolerance: Vec<f32>,
}

/// Name, type, and letters for the dimensions behind the first, which is the batch.
type Edge = (&'static str, &'static str, &'static str);

fn inputs(graph: &str) -> &'static [Edge] {
    match graph {
        "signal" => &[("signals", "float32", "TC")],
        "prefix" => &[("signals", "float32", "TC"), ("length", "int64", "")],
        "full" => &[("activations", "float32", "TCD")],
        _ => &[("phi", "float32", "CD"), ("step", "int64", ""), ("state", "float32", "TC")],
    }
}

fn outputs(graph: &str) -> Vec<Edge> {
    let mut edges = vec![("score", "float32", ""), ("valid", "bool", "")];
    match graph {
        "full" => edges.extend([("sigma", "float32", "TC"), ("logit", "float32", "TC")]),
        "step" => edges.extend([("sigma", "float32", "C"), ("state_out", "float32", "TC")]),
        _ => {}
    }
    edges
}

impl Sizes {
    fn of(&self, letters: &str) -> Vec<usize> {
        let size = |letter| match letter {
            'T' => self.cells,
            'C' => self.layers,
            _ => self.width,
        };
        letters.chars().map(size).collect()
    }
}

/// Checks what the manifest says of all graphs, and gives the golden vectors of `GRAPHS`.
pub fn read(root: &At, sizes: &Sizes) -> Result<[Golden; 2], Refused> {
    let (graphs, golden, files) = (root.get("graphs")?, root.get("golden")?, root.get("files")?);
    let names = graphs.members()?;
    golden.check(golden.members()?.keys().eq(names.keys()), "every graph needs golden vectors, and nothing else")?;
    files.check(files.members()?.len() == names.len(), "files and graphs differ")?;
    let mut found = [graphs.get(GRAPHS[0])?, graphs.get(GRAPHS[1])?].map(|_| Golden::default());
    for name in names.keys() {
        graphs.check(ALL_GRAPHS.contains(&name.as_str()), "an unknown graph; allowed: signal, prefix, full, step")?;
        let graph = graphs.get(name)?.exactly(&["file", "inputs", "outputs"])?;
        graph.check(graph.get("file")?.text()? == format!("{name}.onnx"), "a graph in another file")?;
        files.get(graph.get("file")?.text()?)?;
        check_edges(&graph.get("inputs")?, inputs(name), sizes)?;
        check_edges(&graph.get("outputs")?, &outputs(name), sizes)?;
        let vectors = read_golden(&golden.get(name)?, name, sizes)?;
        if let Some(which) = GRAPHS.iter().position(|one| one == name) {
            found[which] = vectors;
        }
    }
    let anchors_inside = names.len() > GRAPHS.len();
    let sensitive = root.get("sensitive")?;
    sensitive.check(*sensitive.json == Json::Bool(anchors_inside), "must say whether anchors are inside")?;
    let probe = sizes.cells * sizes.layers * sizes.width;
    root.get("signal")?.check(!anchors_inside || probe <= LARGEST_PROBE, "too many numbers")?;
    Ok(found)
}

/// Inputs or outputs as the manifest promises them: a first dimension called B, and sizes.
fn check_edges(found: &At, edges: &[Edge], sizes: &Sizes) -> Result<(), Refused> {
    let names: Vec<&str> = edges.iter().map(|edge| edge.0).collect();
    let found = found.clone().exactly(&names)?;
    for (name, dtype, letters) in edges {
        let edge = found.get(name)?.exactly(&["dtype", "shape"])?;
        let mut shape = vec![Json::Text("B".into())];
        shape.extend(sizes.of(letters).iter().map(|size| Json::Number(size.to_string())));
        let same = edge.get("dtype")?.text()? == *dtype && edge.get("shape")?.items()? == shape;
        edge.check(same, "has another type or shape")?;
    }
    Ok(())
}

fn read_golden(entry: &At, graph: &str, sizes: &Sizes) -> Result<Golden, Refused> {
    let entry = entry.clone().exactly(&["inputs", "score", "tolerance", "valid"])?;
    let score = entry.get("score")?.floats(&[None])?;
    entry.check((1..=MOST_GOLDEN).contains(&score.len()), "no rows, or too many")?;
    let rows = Some(score.len());
    let mut golden = Golden {
        valid: entry.get("valid")?.bools(&[rows])?,
        tolerance: entry.get("tolerance")?.floats(&[rows])?,
        score,
        ..Golden::default()
    };
    // Hidden states follow a rule and are not stored.
    let stored: Vec<&Edge> = inputs(graph).iter().filter(|edge| !edge.2.contains('D')).collect();
    let names: Vec<&str> = stored.iter().map(|edge| edge.0).collect();
    let given = entry.get("inputs")?.exactly(&names)?;
    for (name, dtype, letters) in stored {
        let shape: Vec<_> = std::iter::once(rows).chain(sizes.of(letters).into_iter().map(Some)).collect();
        match *dtype {
            "int64" => golden.lengths = Some(given.get(name)?.integers(&shape)?),
            _ => golden.signals = given.get(name)?.floats(&shape)?,
        }
    }
    let numbers = golden.tolerance.iter().all(|room| *room >= 0.0 && room.is_finite());
    entry.check(numbers, "a tolerance that is no number")?;
    let mixed = golden.valid.contains(&true) && golden.valid.contains(&false);
    entry.check(mixed, "rows that are all valid, or none that is")?;
    Ok(golden)
}
