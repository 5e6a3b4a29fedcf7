"""Schedules."""

from fastapi import APIRouter

from app.api.keyed import KeyedRoute

router = APIRouter(prefix="/v1/schedules", tags=["Schedules"], route_class=KeyedRoute)
