// Apache ZooKeeper's multi-threaded C client, and accessors for symbols that Swift cannot import.
//
// The macro THREADED must stay undefined. Then the client's synchronous calls, which block their thread, do not compile.
#ifndef CZOOKEEPER_SHIM_H
#define CZOOKEEPER_SHIM_H

#include <zookeeper/zookeeper.h>

// The library's access lists are mutable globals, which Swift refuses to share between threads. No code changes them.
static inline const struct ACL_vector *czookeeper_acl_world_open(void) { return &ZOO_OPEN_ACL_UNSAFE; }
static inline const struct ACL_vector *czookeeper_acl_creator_all(void) { return &ZOO_CREATOR_ALL_ACL; }

// The creator has all permissions (31), and every user may read and create children (1 + 4). The permissions are written as numbers, because the library's
// constants are not constant expressions in C.
static inline const struct ACL_vector *czookeeper_acl_shared(void) {
  static struct ACL lists[] = {{31, {"auth", ""}}, {1 | 4, {"world", "anyone"}}};
  static const struct ACL_vector vector = {2, lists};
  return &vector;
}

#endif
