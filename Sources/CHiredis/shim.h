// hiredis: only its incremental reader of replies. Sockets, timers and TLS are NIO's.
#ifndef CHIREDIS_SHIM_H
#define CHIREDIS_SHIM_H

#include <hiredis/hiredis.h>

#endif
