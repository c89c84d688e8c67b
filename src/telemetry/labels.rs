//! The closed sets that metrics are labelled with. What is not in them cannot become a label.

/// One of a closed set of words.
pub trait Label: Copy + 'static {
    /// All of them.
    const ALL: &'static [Self];

    /// The word as it stands in metrics and log lines.
    fn as_str(self) -> &'static str;
}

macro_rules! labels {
    ($($(#[$doc:meta])* $name:ident { $($(#[$member_doc:meta])* $member:ident = $word:literal,)* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$member_doc])* $member,)* }

        impl Label for $name {
            const ALL: &'static [Self] = &[$(Self::$member,)*];

            fn as_str(self) -> &'static str {
                match self { $(Self::$member => $word,)* }
            }
        }
    )*};
}

labels! {
    /// Why a run did not wait for more rows.
    Release {
        /// It had as many as it may have.
        Full = "full",
        /// Its oldest item had waited as long as it may.
        Delay = "delay",
        /// Nothing else was going on, or nothing may be waited for.
        Idle = "idle",
    }
    /// A part of the time that a request takes.
    Stage {
        /// Who calls, and whether they may.
        Auth = "auth",
        /// Whether they call too often.
        RateLimit = "rate_limit",
        /// Receiving the body and reading its JSON.
        Decode = "decode",
        /// Looking for a known answer, and waiting for another request's.
        Cache = "cache",
        /// Waiting for a session.
        Queue = "queue",
        /// Making tensors of an input.
        Preprocess = "preprocess",
        /// Running the graph.
        Inference = "inference",
        /// Making predictions of outputs.
        Postprocess = "postprocess",
        /// Writing the answer's JSON.
        Encode = "encode",
        /// What is in none of them, so that they add up.
        Other = "other",
    }

    /// Where answers are kept.
    Tier {
        /// In this process.
        Memory = "memory",
        /// In a Redis that several servers share.
        Redis = "redis",
    }

    /// How a look into a tier ended.
    Lookup {
        /// It was there.
        Hit = "hit",
        /// It was not there, or too old for this request.
        Miss = "miss",
        /// The tier gave no answer, or one that cannot be believed.
        Error = "error",
        /// Another request was already computing it.
        Collapsed = "collapsed",
        /// Nobody looked: the request or the model wanted none, or the tier is known to be away.
        Bypass = "bypass",
    }

    /// What is done with a tier.
    CacheOperation {
        /// Reading one or more answers.
        Get = "get",
        /// Writing one or more answers.
        Set = "set",
    }

    /// What became of a row of the history.
    HistoryRows {
        /// It is in the database.
        Stored = "stored",
        /// It went to the spool first.
        Spooled = "spooled",
        /// The database does not take such a row.
        Rejected = "rejected",
        /// It is nowhere: there was no room for it, or its part of the spool was damaged.
        Dropped = "dropped",
    }

    /// Where a prediction came from.
    Source {
        /// From a run of the model.
        Computed = "computed",
        /// From this process.
        Memory = "memory",
        /// From Redis.
        Redis = "redis",
        /// From the run that another request was waiting for.
        Collapsed = "collapsed",
    }

    /// Why a caller was not let in. The caller learns only that there was a reason.
    AuthRejection {
        /// No key came.
        Missing = "missing",
        /// What came is no key, or there were two.
        Malformed = "malformed",
        /// No key has this id.
        Unknown = "unknown",
        /// The id exists, the secret is another one.
        Mismatch = "mismatch",
        /// The key was revoked.
        Revoked = "revoked",
        /// The key is not valid yet.
        NotYetValid = "not_yet_valid",
        /// The key is not valid any more.
        Expired = "expired",
        /// The key lacks the scope.
        Scope = "scope",
        /// The key may not use the model.
        Model = "model",
    }

    /// What a request for predictions was written in.
    Protocol {
        /// The server's own, version 1.
        V1 = "v1",
        /// The Open Inference Protocol over REST.
        OpenInference = "open_inference",
        /// The same over gRPC.
        Grpc = "grpc",
        /// OpenAI's, for embeddings.
        OpenAi = "openai",
        /// No network at all.
        CommandLine = "command_line",
    }

    /// What became of a traced request.
    SpanEnd {
        /// The collector has it.
        Exported = "exported",
        /// The collector did not take it.
        Failed = "failed",
        /// Too many waited for the collector.
        Dropped = "dropped",
    }

    /// How a question to the model workers ended.
    Asked {
        /// With an answer.
        Answered = "answered",
        /// Too many were waiting.
        Refused = "refused",
        /// Nobody answered before the caller's deadline, or the caller left.
        Left = "left",
        /// Redis was away, or lost the question.
        Lost = "lost",
    }

    /// What an API server leaves out of what Redis says of the workers: it is beyond the bounds, or cannot be read.
    LeftOut {
        /// A worker, with all that it serves.
        Worker = "worker",
        /// A model of a worker.
        Model = "model",
        /// A version of a worker.
        Version = "version",
        /// The description of a version, which is not served without it.
        Description = "description",
    }

    /// What a worker does with an entry.
    Entries {
        /// It took it.
        Claimed = "claimed",
        /// It took it from a worker that has fallen silent.
        Redelivered = "redelivered",
        /// It answered it.
        Answered = "answered",
        /// Its caller's deadline had passed: it was not run.
        Expired = "expired",
        /// Its caller left while it was held.
        Cancelled = "cancelled",
        /// Another worker had answered before.
        Late = "late",
        /// It was given up.
        Dead = "dead",
        /// It could not be read.
        Unreadable = "unreadable",
    }

    /// How an attempt ended.
    Attempt {
        /// It worked.
        Ok = "ok",
        /// It did not.
        Failed = "failed",
    }
}
