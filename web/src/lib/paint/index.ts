// Painting without a page: numbers in, bytes and words out.

export * from './look'
export * from './packed'
export * from './paint'
export * from './probe'
export * from './ramp'
export * from './region'
export * from './removed'
export * from './scale'
export * from './tables'
export * from './words'
