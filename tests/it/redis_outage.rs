//! Redis is killed, frozen, cut, full, wrong or closed to us, while callers come and go: none of them notices.
