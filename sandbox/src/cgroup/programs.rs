//! The leaves that a command asks for while it runs: one group below the stage's holds them all, so that what runs for one of
//! them in several is counted together.

use super::stage::{MakeDir, make_group};
use super::{Base, CgroupError, Meter, StageGroup, check_name, files, tree, unified};
use std::time::Duration;

/// The group above all of them.
const PROGRAMS: &str = "programs";

impl StageGroup {
    /// Makes a further leaf, below a group that all of these have in common.
    ///
    /// # Errors
    /// When the name is taken or none, or the directory cannot be made.
    pub fn make_leaf(&mut self, leaf: &str) -> Result<(), CgroupError> {
        self.make_program_leaf(leaf, &files::make_dir)
    }

    pub(super) fn make_program_leaf(&mut self, leaf: &str, make_dir: MakeDir<'_>) -> Result<(), CgroupError> {
        check_name(leaf)?;
        let above = match &self.programs {
            Some(programs) => programs.clone(),
            None => {
                let programs = self.stage.child(PROGRAMS);
                make_group(&programs, make_dir)?;
                self.programs = Some(programs.clone());
                if let Base::Unified { dir } = &programs {
                    unified::count_in_leaves(dir)?;
                }
                self.count_tcp(&programs)?;
                programs
            }
        };
        let group = above.child(leaf);
        make_group(&group, make_dir)?;
        let within = self.count_tcp(&group);
        let booked = self.book_leaf(&group);
        self.leaves.insert(leaf.into(), group);
        within.and(booked)
    }

    /// A leaf's memory, to be read again and again.
    ///
    /// # Errors
    /// When there is no such leaf, or its files cannot be opened.
    pub fn meter(&self, leaf: &str) -> Result<Meter, CgroupError> {
        Meter::open(self.leaf(leaf)?)
    }

    /// The same of all leaves that were asked for, together. `None`: none was.
    ///
    /// # Errors
    /// When its files cannot be opened.
    pub fn meter_of_programs(&self) -> Result<Option<Meter>, CgroupError> {
        self.programs.as_ref().map(Meter::open).transpose()
    }

    /// The same of the whole stage.
    ///
    /// # Errors
    /// When its files cannot be opened.
    pub fn meter_of_stage(&self) -> Result<Meter, CgroupError> {
        Meter::open(&self.stage)
    }

    /// The processes in a leaf, as the v2 tree has them.
    ///
    /// # Errors
    /// When there is no such leaf, or its list cannot be read.
    pub fn processes(&self, leaf: &str) -> Result<Vec<i32>, CgroupError> {
        tree::processes(&[self.leaf(leaf)?.v2()])
    }

    /// Whether a process is in a leaf.
    ///
    /// # Errors
    /// When there is no such leaf, or its files make no sense.
    pub fn is_in_use(&self, leaf: &str) -> Result<bool, CgroupError> {
        tree::is_populated(self.leaf(leaf)?)
    }

    /// Ends every process of a leaf, and waits until none is left.
    ///
    /// # Errors
    /// When there is no such leaf, or one of its processes does not go away in time.
    pub fn empty_leaf(&self, leaf: &str, patience: Duration) -> Result<(), CgroupError> {
        if self.spared { Ok(()) } else { tree::empty(self.leaf(leaf)?, patience) }
    }
}
