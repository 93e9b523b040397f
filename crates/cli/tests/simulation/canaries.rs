//! Mistakes that are made on purpose, each of which a simulation has to notice.

/// What is done wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Canary {
    // What the disk is not told, or in another order.
    OutputIsNotSynced,
    LettersAreNotSynced,
    ListIsNotSynced,
    SegmentsAreNotSynced,
    HeldIsNotSynced,
    ManifestIsNotSynced,
    ManifestIsSyncedBehindItsName,
    OutputIsSyncedBehindTheManifest,
    NamesAreNotSyncedBeforeTheManifest,
    ManifestsNameIsNotSynced,
    OutputsFolderIsNotSynced,
    OutputIsNotCut,
    OutputIsCutShort,
    CopyIsNotSynced,
    // What a cut has that it should not have.
    HeldIsDropped,
    HeldTradeIsForgotten,
    RecentAreDropped,
    SourceIsOneFurther,
    SourceIsOneBehind,
    SourceIsOfTheCutBefore,
    ChangesAreForgotten,
    ChangesAreBehindTheirCut,
    LedgerIsOfTheCutBefore,
    TradesAreOneFurther,
    OutputIsOfTheCutBefore,
    PieceIsHeldBack,
    OutputIsPublishedBeforeItCounts,
    // What a life that goes on does wrong.
    BeginsAnew,
    TablesAreEmpty,
}

impl Canary {
    pub(crate) const ALL: [Self; 29] = [
        Self::OutputIsNotSynced,
        Self::LettersAreNotSynced,
        Self::ListIsNotSynced,
        Self::SegmentsAreNotSynced,
        Self::HeldIsNotSynced,
        Self::ManifestIsNotSynced,
        Self::ManifestIsSyncedBehindItsName,
        Self::OutputIsSyncedBehindTheManifest,
        Self::NamesAreNotSyncedBeforeTheManifest,
        Self::ManifestsNameIsNotSynced,
        Self::OutputsFolderIsNotSynced,
        Self::OutputIsNotCut,
        Self::OutputIsCutShort,
        Self::CopyIsNotSynced,
        Self::HeldIsDropped,
        Self::HeldTradeIsForgotten,
        Self::RecentAreDropped,
        Self::SourceIsOneFurther,
        Self::SourceIsOneBehind,
        Self::SourceIsOfTheCutBefore,
        Self::ChangesAreForgotten,
        Self::ChangesAreBehindTheirCut,
        Self::LedgerIsOfTheCutBefore,
        Self::TradesAreOneFurther,
        Self::OutputIsOfTheCutBefore,
        Self::PieceIsHeldBack,
        Self::OutputIsPublishedBeforeItCounts,
        Self::BeginsAnew,
        Self::TablesAreEmpty,
    ];
}
