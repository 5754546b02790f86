// Apache ZooKeeper's multi-threaded C client, and accessors for what Swift cannot import from it.
//
// THREADED stays undefined. This hides the client's synchronous calls, which block their thread: only the asynchronous calls compile.
#ifndef CZOOKEEPER_SHIM_H
#define CZOOKEEPER_SHIM_H

#include <zookeeper/zookeeper.h>

// The ready-made access lists are mutable globals of the library, which Swift refuses to share between threads. No code writes them.
static inline const struct ACL_vector *czookeeper_acl_world_open(void) { return &ZOO_OPEN_ACL_UNSAFE; }
static inline const struct ACL_vector *czookeeper_acl_creator_all(void) { return &ZOO_CREATOR_ALL_ACL; }

// The creator has all permissions (31), and every user may read and create children (1 + 4). Numbers, because C does not treat the library's constants as
// constant expressions.
static inline const struct ACL_vector *czookeeper_acl_shared(void) {
  static struct ACL lists[] = {{31, {"auth", ""}}, {1 | 4, {"world", "anyone"}}};
  static const struct ACL_vector vector = {2, lists};
  return &vector;
}

#endif
