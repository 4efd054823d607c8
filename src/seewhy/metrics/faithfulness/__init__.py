"""Does the score fall where the map says it should?"""
