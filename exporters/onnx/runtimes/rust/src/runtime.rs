//! onnxruntime, and nothing else: a graph from bytes, with every door closed that a file could open.
//!
//! No external data, no folding of huge constants, no options from the model's own metadata, one thread that never spins.
//! Results lie in onnxruntime's arena, its default: without one, glibc before 2.38 grows the heap with each call whose
//! results are large.

use std::ffi::{c_char, c_int, c_void, CStr};
use std::ptr::{null, null_mut};

use crate::ort::{Api, Opaque, OrtGetApiBase, Status, API_VERSION, BOOL, FATAL, FLOAT, INT64};
use crate::owned::{checked, made, Owned};
use crate::refused::{refuse, Refused};

/// Older releases read other files on a graph's behalf and allocate gigabytes for a file of 168 bytes.
const OLDEST: (u32, u32) = (1, 27);
const OPTIONS: [(&CStr, &CStr); 4] = [
    (c"session.intra_op.allow_spinning", c"0"),
    (c"session.load_model_format", c"ONNX"),
    (c"optimization.constant_folding_max_output_size_in_bytes", c"1048576"),
    // Without this, a model from bytes may read external data from the working directory.
    (c"session.model_external_initializers_file_folder_path", c"/nonexistent"),
];

pub struct Runtime {
    api: &'static Api,
    memory: Owned,
    env: Owned,
}

// SAFETY: onnxruntime documents environment, memory information and sessions as safe to use from several threads, and
// nothing of them is changed after it was made.
unsafe impl Send for Runtime {}
unsafe impl Sync for Runtime {}

impl Runtime {
    pub fn open(subject: &str) -> Result<Runtime, Refused> {
        if std::env::var_os("ORT_LOAD_CONFIG_FROM_MODEL").is_some_and(|setting| setting != "0") {
            refuse!("{subject}: ORT_LOAD_CONFIG_FROM_MODEL is set, so a model could set session options. Unset it.");
        }
        // SAFETY: the base and the table behind it live as long as the library, and the places in the table are fixed.
        let (version, api) = unsafe {
            let base = &*OrtGetApiBase();
            let version = CStr::from_ptr((base.get_version_string)()).to_string_lossy().into_owned();
            let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
            if (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) < OLDEST {
                refuse!(
                    "{subject}: onnxruntime {version} is installed, and graphs may only be loaded by {}.{} or later, which \
                     checks where their data lies and how much they allocate. Install a newer one.",
                    OLDEST.0,
                    OLDEST.1
                );
            }
            (version, (base.get_api)(API_VERSION).as_ref())
        };
        let Some(api) = api else {
            refuse!("{subject}: onnxruntime {version} has no C API {API_VERSION}. Install another release.");
        };
        let doing = "does not start";
        // SAFETY: the arguments outlive the calls, and the results are owned.
        unsafe {
            let env = made(api, api.release_env, subject, doing, |out| (api.create_env)(FATAL, c"sri".as_ptr(), out))?;
            let memory =
                made(api, api.release_memory_info, subject, doing, |out| (api.create_cpu_memory_info)(0, 0, out))?;
            Ok(Runtime { api, memory, env })
        }
    }

    fn options(&self, subject: &str) -> Result<Owned, Refused> {
        let (api, doing) = (self.api, "does not take its options");
        // SAFETY: the options are live, and the texts are constants.
        unsafe {
            let options =
                made(api, api.release_session_options, subject, doing, |out| (api.create_session_options)(out))?;
            let to = options.pointer;
            checked(api, (api.set_intra_op_num_threads)(to, 1), subject, doing)?;
            checked(api, (api.set_inter_op_num_threads)(to, 1), subject, doing)?;
            checked(api, (api.set_session_log_severity_level)(to, FATAL), subject, doing)?;
            for (key, value) in OPTIONS {
                checked(api, (api.add_session_config_entry)(to, key.as_ptr(), value.as_ptr()), subject, doing)?;
            }
            Ok(options)
        }
    }

    /// Whether a tensor is of `kind` and has the dimensions [first, rest...].
    fn has_shape(&self, info: *const Opaque, kind: c_int, first: i64, rest: &[usize]) -> Result<bool, Status> {
        let fine = |status: Status| if status.is_null() { Ok(()) } else { Err(status) };
        let (mut found, mut rank, mut dims) = (0, 0, [0i64; 3]);
        if info.is_null() {
            return Ok(false);
        }
        // SAFETY: `info` is live; `dims` has room for the rank that was just compared.
        unsafe {
            fine((self.api.get_tensor_element_type)(info, &mut found))?;
            fine((self.api.get_dimensions_count)(info, &mut rank))?;
            if found != kind || rank != 1 + rest.len() || rank > dims.len() {
                return Ok(false);
            }
            fine((self.api.get_dimensions)(info, dims.as_mut_ptr(), rank))?;
        }
        Ok(dims[0] == first && rest.iter().zip(&dims[1..]).all(|(a, b)| i64::try_from(*a) == Ok(*b)))
    }

    /// Whether a session has exactly these inputs (or outputs): (name, type, dimensions behind the first).
    fn has_edges(
        &self,
        session: *const Opaque,
        inputs: bool,
        edges: &[(&CStr, c_int, &[usize])],
        subject: &str,
    ) -> Result<bool, Refused> {
        let (api, doing) = (self.api, "cannot describe it");
        let (count, name_of, type_of) = if inputs {
            (api.session_get_input_count, api.session_get_input_name, api.session_get_input_type_info)
        } else {
            (api.session_get_output_count, api.session_get_output_name, api.session_get_output_type_info)
        };
        let (mut found, mut matched, mut allocator) = (0, 0, null_mut());
        // SAFETY: the session is live; names are freed by the allocator that made them, after they were copied.
        unsafe {
            checked(api, count(session, &mut found), subject, doing)?;
            checked(api, (api.get_allocator_with_default_options)(&mut allocator), subject, doing)?;
            for index in 0..if found == edges.len() { found } else { 0 } {
                let (mut raw, mut info) = (null_mut(), null());
                checked(api, name_of(session, index, allocator, &mut raw), subject, doing)?;
                let name = CStr::from_ptr(raw).to_owned();
                checked(api, (api.allocator_free)(allocator, raw.cast()), subject, doing)?;
                let kind = made(api, api.release_type_info, subject, doing, |out| type_of(session, index, out))?;
                checked(api, (api.cast_type_info_to_tensor_info)(kind.pointer, &mut info), subject, doing)?;
                for (wanted, kind, rest) in edges {
                    let shape = self.has_shape(info, *kind, -1, rest);
                    let same = shape.or_else(|status| checked(api, status, subject, doing).map(|()| false))?;
                    matched += usize::from(same && *name == **wanted);
                }
            }
        }
        Ok(found == edges.len() && matched == edges.len())
    }

    /// Loads a graph from bytes and checks its edges.
    pub fn load(&self, content: &[u8], subject: String, prefix: bool, grid: [usize; 2]) -> Result<Session, Refused> {
        let api = self.api;
        let options = self.options(&subject)?;
        // SAFETY: onnxruntime copies what it needs of the bytes before it returns.
        let handle = made(api, api.release_session, &subject, "cannot load it", |out| unsafe {
            (api.create_session_from_array)(
                self.env.pointer,
                content.as_ptr().cast(),
                content.len(),
                options.pointer,
                out,
            )
        })?;
        let inputs: [(&CStr, c_int, &[usize]); 2] = [(c"signals", FLOAT, &grid), (c"length", INT64, &[])];
        let outputs: [(&CStr, c_int, &[usize]); 2] = [(c"score", FLOAT, &[]), (c"valid", BOOL, &[])];
        let inputs = &inputs[..if prefix { 2 } else { 1 }];
        if !self.has_edges(handle.pointer, true, inputs, &subject)?
            || !self.has_edges(handle.pointer, false, &outputs, &subject)?
        {
            refuse!("{subject}: its inputs or outputs are not those the manifest promises. Export the guard again.");
        }
        Ok(Session { handle, subject, grid })
    }

    /// Rows [rows, T, C] (and lengths [rows], which `prefix` takes) -> score [rows], valid [rows].
    pub fn run(
        &self,
        session: &Session,
        signals: &[f32],
        lengths: Option<&[i64]>,
        rows: usize,
    ) -> Result<(Vec<f32>, Vec<bool>), Refused> {
        let (api, subject, doing) = (self.api, session.subject.as_str(), "fails on a signal");
        let [cells, layers] = session.grid;
        assert_eq!(signals.len(), rows * cells * layers);
        let shape = [rows as i64, cells as i64, layers as i64];
        let names: [*const c_char; 4] = [c"signals".as_ptr(), c"length".as_ptr(), c"score".as_ptr(), c"valid".as_ptr()];
        let tensor = |data: *const c_void, size: usize, rank: usize, kind: c_int| {
            // SAFETY: inputs outlive the run and are not written to, whatever the type of the argument says.
            made(api, api.release_value, subject, doing, |out| unsafe {
                let create = api.create_tensor_with_data_as_ort_value;
                create(self.memory.pointer, data.cast_mut(), size, shape.as_ptr(), rank, kind, out)
            })
        };
        let mut inputs = vec![tensor(signals.as_ptr().cast(), size_of_val(signals), 3, FLOAT)?];
        if let Some(lengths) = lengths {
            assert_eq!(lengths.len(), rows);
            inputs.push(tensor(lengths.as_ptr().cast(), size_of_val(lengths), 1, INT64)?);
        }
        let given: Vec<*const Opaque> = inputs.iter().map(|input| input.pointer.cast_const()).collect();
        let mut raw: [*mut Opaque; 2] = [null_mut(); 2];
        // SAFETY: as many names as values, all live.
        let status = unsafe {
            (api.run)(
                session.handle.pointer,
                null(),
                names.as_ptr(),
                given.as_ptr(),
                given.len(),
                names[2..].as_ptr(),
                2,
                raw.as_mut_ptr(),
            )
        };
        let outputs: Vec<Option<Owned>> = raw
            .iter()
            .map(|pointer| (!pointer.is_null()).then_some(Owned { pointer: *pointer, release: api.release_value }))
            .collect();
        checked(api, status, subject, doing)?;
        let (score, valid) =
            (self.output(session, &outputs[0], FLOAT, rows)?, self.output(session, &outputs[1], BOOL, rows)?);
        // SAFETY: `output` made sure that each holds one element of this type per row; a bool of onnxruntime's is one byte.
        unsafe {
            let score = std::slice::from_raw_parts(score.cast::<f32>(), rows).to_vec();
            let valid = std::slice::from_raw_parts(valid.cast::<u8>(), rows).iter().map(|byte| *byte != 0).collect();
            Ok((score, valid))
        }
    }

    /// The data of an output [rows]. What a graph declares is checked again: onnxruntime only warns where they differ.
    fn output(
        &self,
        session: &Session,
        value: &Option<Owned>,
        kind: c_int,
        rows: usize,
    ) -> Result<*const c_void, Refused> {
        let (api, subject, doing) = (self.api, session.subject.as_str(), "fails on a signal");
        let (mut tensor, mut data) = (0, null_mut());
        let wrong = || {
            Refused::new(format!(
                "{subject}: it returns another number of rows, or of another type. Export the guard again."
            ))
        };
        let value = value.as_ref().ok_or_else(wrong)?.pointer;
        // SAFETY: the value is live for as long as the caller holds it.
        unsafe {
            checked(api, (api.is_tensor)(value, &mut tensor), subject, doing)?;
            if tensor == 0 {
                return Err(wrong());
            }
            let release = api.release_tensor_type_and_shape_info;
            let info = made(api, release, subject, doing, |out| (api.get_tensor_type_and_shape)(value, out))?;
            match self.has_shape(info.pointer, kind, rows as i64, &[]) {
                Ok(true) => {}
                Ok(false) => return Err(wrong()),
                Err(status) => checked(api, status, subject, doing)?,
            }
            checked(api, (api.get_tensor_mutable_data)(value, &mut data), subject, doing)?;
        }
        Ok(data.cast_const())
    }
}

pub struct Session {
    handle: Owned,
    subject: String,
    grid: [usize; 2],
}

// SAFETY: see `Runtime`.
unsafe impl Send for Session {}
unsafe impl Sync for Session {}
