//! Pulls that wait, over real sockets: they wake, they end with their client, they block nobody.

use super::*;
