// Apache ZooKeeper's multi-threaded C client, and accessors for what Swift cannot import from it.
//
// THREADED stays undefined: that hides the client's synchronous calls, which block their thread, so that only the asynchronous ones compile.
#ifndef CZOOKEEPER_SHIM_H
#define CZOOKEEPER_SHIM_H

#include <zookeeper/zookeeper.h>

// The ready-made access lists are mutable globals of the library, which Swift refuses to share between threads. Nobody writes them.
static inline const struct ACL_vector *czookeeper_acl_world_open(void) { return &ZOO_OPEN_ACL_UNSAFE; }
static inline const struct ACL_vector *czookeeper_acl_creator_all(void) { return &ZOO_CREATOR_ALL_ACL; }

// The creator may do all, and everyone may list and make children: permissions 31 and 1 + 4, as numbers because the library's constants are no constants to C.
static inline const struct ACL_vector *czookeeper_acl_shared(void) {
  static struct ACL lists[] = {{31, {"auth", ""}}, {1 | 4, {"world", "anyone"}}};
  static const struct ACL_vector vector = {2, lists};
  return &vector;
}

#endif
