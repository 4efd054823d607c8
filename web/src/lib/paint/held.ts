// The tables of colours inside the script: for shells without a server.

import tables from '../../../../src/seewhy/show/tables.json'
import { provide } from './tables'

provide(tables)
